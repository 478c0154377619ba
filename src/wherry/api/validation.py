# SPDX-License-Identifier: Apache-2.0
"""Holds bodies and queries against JSON Schema, with the words that Nova's clients know. The only importer of jsonschema.

Knows no resource: the schemas stand in `schemas/`. jsonschema and not Pydantic, because clients see the validator's own sentences.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

import jsonschema

from wherry.api import faults, microversions

JsonSchema = Mapping[str, Any]

_formats = jsonschema.FormatChecker(formats=())
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


@_formats.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or _UUID.fullmatch(value) is not None


@_formats.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or read_time(value) is not None


@_formats.checks("ipv4", raises=ValueError)
def _is_ipv4(value: object) -> bool:
    return not isinstance(value, str) or ipaddress.IPv4Address(value) is not None


@_formats.checks("ipv6", raises=ValueError)
def _is_ipv6(value: object) -> bool:
    return not isinstance(value, str) or ipaddress.IPv6Address(value) is not None


def read_time(text: str) -> datetime.datetime:
    """Read an ISO 8601 time; one without a zone is UTC.

    :raises ValueError: when it is none
    """
    # A plus sign that was not escaped in a query arrives as a blank.
    read = datetime.datetime.fromisoformat(text.strip().replace(" ", "+") if text.count(":") > 2 and "T" in text else text.strip())
    try:
        return read.replace(tzinfo=datetime.UTC) if read.tzinfo is None else read.astimezone(datetime.UTC)
    except OverflowError as error:
        # The zone moves the first or last day of the calendar out of it.
        raise ValueError(text) from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Variant:
    first: microversions.Microversion
    schema: JsonSchema
    validator: Any


class Schema:
    """One schema through its versions: each holds from its version until the next one's.

    :param variants: version ("2.25") and schema, rising; the first must be the version at which its route begins, or earlier
    """

    def __init__(self, *variants: tuple[str, JsonSchema]) -> None:
        self._variants = tuple(
            _Variant(microversions.parse(version), schema, jsonschema.Draft202012Validator(schema, format_checker=_formats))
            for version, schema in variants
        )
        numbers = [variant.first for variant in self._variants]
        if not numbers or numbers != sorted(set(numbers)):
            raise ValueError(f"versions must rise: {', '.join(str(number) for number in numbers)}")

    @property
    def versions(self) -> tuple[microversions.Microversion, ...]:
        """Give the versions at which it changes."""
        return tuple(variant.first for variant in self._variants)

    def at(self, version: microversions.Microversion) -> JsonSchema:
        """Give the schema that holds at this version."""
        return self._variant(version).schema

    def check_body(self, body: object, version: microversions.Microversion, *, is_tolerant: bool = False) -> None:
        """Let it pass or raise.

        :param is_tolerant: whether unknown keys are let through (the legacy /v2)
        :raises HttpFault: 400, in Nova's words
        """
        for error in self._variant(version).validator.iter_errors(body):
            if is_tolerant and error.validator == "additionalProperties":
                continue
            message = error.message + (self._known_later(error, version) if error.validator == "additionalProperties" else "")
            if not error.path:
                raise faults.bad_request(message)
            raise faults.bad_request(f"Invalid input for field/attribute {error.path[-1]}. Value: {error.instance}. {message}")

    def check_query(self, query: Mapping[str, list[str]], version: microversions.Microversion) -> dict[str, list[str]]:
        """Give the parameters that the schema knows; unknown ones are dropped where it lets them pass.

        :raises HttpFault: 400, in Nova's words
        """
        variant = self._variant(version)
        for error in variant.validator.iter_errors(dict(query)):
            if not error.path:
                raise faults.bad_request(error.message)
            raise faults.bad_request(f"Invalid input for query parameters {error.path[0]}. Value: {error.instance}. {error.message}")
        known = variant.schema.get("properties", {})
        return {name: values for name, values in query.items() if name in known}

    def _known_later(self, error: jsonschema.ValidationError, version: microversions.Microversion) -> str:
        """Say from which version on keys are known that this one does not know."""
        hints = []
        for key in sorted(set(cast("Mapping[str, Any]", error.instance)) - set(_keys_at(self.at(version), error.path))):
            first = next(
                (later.first for later in self._variants if later.first > version and key in _keys_at(later.schema, error.path)), None
            )
            if first is not None:
                hints.append(f" {key!r} is known from microversion {first} on.")
        return "".join(hints)

    def _variant(self, version: microversions.Microversion) -> _Variant:
        found = self._variants[0]
        for variant in self._variants:
            if variant.first > version:
                break
            found = variant
        return found


def _keys_at(schema: JsonSchema, path: Iterable[str | int]) -> Collection[str]:
    """Give the keys that a schema knows at a place."""
    for key in path:
        schema = schema.get("properties", {}).get(key, {})
    return cast("Collection[str]", schema.get("properties", {}))
