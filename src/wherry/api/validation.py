# SPDX-License-Identifier: Apache-2.0
"""Holds bodies and queries against JSON Schema, with the words that Nova's clients know. The only importer of jsonschema.

Knows no resource: the schemas stand in `schemas/`. jsonschema and not Pydantic, because clients see the validator's own sentences.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import jsonschema
from jsonschema import validators

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


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # In JSON Schema "$" is the end of the text; Python's would let a line's end stand behind it.
    return re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern)


def _check_pattern(validator: Any, pattern: str, instance: object, schema: JsonSchema) -> Iterator[jsonschema.ValidationError]:
    if validator.is_type(instance, "string") and not _compiled(pattern).search(cast("str", instance)):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _check_keys(validator: Any, patterns: JsonSchema, instance: object, schema: JsonSchema) -> Iterator[jsonschema.ValidationError]:
    """Hold an object whose keys are free to what they must look like, and its values to what their keys mean."""
    if not isinstance(instance, dict):
        return
    for key, value in instance.items():
        matching = [pattern for pattern in patterns if _compiled(pattern).search(key)]
        if not matching:
            named = ", ".join(repr(pattern) for pattern in patterns)
            yield jsonschema.ValidationError(f"{key!r} does not match any of the regexes: {named}")
        for pattern in matching:
            yield from validator.descend(value, patterns[pattern], path=key, schema_path=pattern)


_extend = cast("Callable[..., Any]", validators.extend)
_Validator = _extend(jsonschema.Draft202012Validator, {"pattern": _check_pattern, "patternProperties": _check_keys})


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
            _Variant(microversions.parse(version), schema, _Validator(schema, format_checker=_formats)) for version, schema in variants
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
            message = _sentences(error.message, self._instead(error, body, version))
            if not error.path:
                raise faults.bad_request(message)
            raise faults.bad_request(f"Invalid input for field/attribute {error.path[-1]}. Value: {error.instance}. {message}")

    def check_query(self, query: Mapping[str, list[str]], version: microversions.Microversion) -> dict[str, list[str]]:
        """Give the parameters that the schema knows; unknown ones are dropped where it lets them pass.

        :raises HttpFault: 400, in Nova's words
        """
        variant = self._variant(version)
        for error in variant.validator.iter_errors(dict(query)):
            message = _sentences(error.message, self._instead(error, query, version))
            if not error.path:
                raise faults.bad_request(message)
            raise faults.bad_request(f"Invalid input for query parameters {error.path[0]}. Value: {error.instance}. {message}")
        known = variant.schema.get("properties", {})
        return {name: values for name, values in query.items() if name in known}

    def _instead(self, error: jsonschema.ValidationError, content: object, version: microversions.Microversion) -> list[str]:
        """Say what to send instead: in which other version a key is known, which keys there are, which version all of it fits."""
        here = _keys_at(self.at(version), error.path)
        if error.validator != "additionalProperties":
            fitting = self._fitting(content, version)
            if fitting is not None:
                return [f"All of it fits microversion {fitting}; the request was sent at {version}."]
            # A key that is lacking is often there, misspelt.
            unknown = sorted(set(cast("JsonSchema", error.instance)) - set(here)) if error.validator == "required" else []
            return [f"Not known here: {', '.join(unknown)}. Known here: {', '.join(here)}."] if unknown and here else []
        hints = [self._known_elsewhere(key, error.path, version) for key in sorted(set(cast("JsonSchema", error.instance)) - set(here))]
        if not all(hints):
            hints.append(f"Known here: {', '.join(here)}." if here else "None is known here.")
        return [hint for hint in hints if hint]

    def _known_elsewhere(self, key: str, path: Iterable[str | int], version: microversions.Microversion) -> str:
        where = list(path)
        knowing = [variant.first for variant in self._variants if key in _keys_at(variant.schema, where)]
        later = [first for first in knowing if first > version]
        if later:
            return f"{key!r} is known from microversion {later[0]} on."
        if not knowing:
            return ""
        ended = next(variant.first for variant in self._variants if variant.first > knowing[-1])
        return f"{key!r} is not known from microversion {ended} on."

    def _fitting(self, content: object, version: microversions.Microversion) -> microversions.Microversion | None:
        """Give the version at which this is right as it stands, the next later one or else the last earlier one."""
        others = [variant for variant in self._variants if variant is not self._variant(version)]
        later = [variant for variant in others if variant.first > version]
        earlier = [variant for variant in reversed(others) if variant.first < version]
        fitting = (variant for variant in (*later, *earlier) if variant.validator.is_valid(content))
        # Old queries let unknown parameters pass, and drop them: that is no fit.
        return next((variant.first for variant in fitting if _knows_all(variant.schema, content)), None)

    def _variant(self, version: microversions.Microversion) -> _Variant:
        found = self._variants[0]
        for variant in self._variants:
            if variant.first > version:
                break
            found = variant
        return found


def _keys_at(schema: JsonSchema, path: Iterable[str | int]) -> Sequence[str]:
    """Give the keys that a schema knows at a place."""
    for key in path:
        schema = schema.get("properties", {}).get(key, {})
    return tuple(schema.get("properties", {}))


def _knows_all(schema: JsonSchema, content: object) -> bool:
    known = schema.get("properties", {})
    return not isinstance(content, Mapping) or "patternProperties" in schema or all(key in known for key in content)


def _sentences(message: str, hints: Sequence[str]) -> str:
    """Put what to send instead behind Nova's words, which have no full stop."""
    return f"{message}. {' '.join(hints)}" if hints else message
