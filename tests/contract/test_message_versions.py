# SPDX-License-Identifier: Apache-2.0
"""Messages of this release and of every earlier one: each reads what the other sends.

The shapes of a release are written down by `scripts/keep-messages` when it is made, and lie in messages/.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from wherry import __version__
from wherry.rpc import envelope, messages
from wherry.testing import message_schemas

_KEPT = message_schemas.kept()
_NOW = message_schemas.current()
_PAIRS = [(release, name) for release, schemas in _KEPT.items() for name in schemas]


def _sample(part: dict[str, Any], whole: dict[str, Any], *, is_full: bool) -> Any:
    """Make a value that fits the schema: with every field, or with the required ones only."""
    while "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    if "properties" in part:
        names = part["properties"] if is_full else part.get("required", ())
        return {name: _sample(part["properties"][name], whole, is_full=is_full) for name in names}
    if "anyOf" in part:
        return _sample(part["anyOf"][0], whole, is_full=is_full)
    if "const" in part or "enum" in part:
        return part["const"] if "const" in part else part["enum"][-1]
    if part.get("type") == "array":
        return [_sample(part["items"], whole, is_full=is_full)] if is_full and "items" in part else []
    word = "2030-01-01T00:00:00Z" if part.get("format") == "date-time" else "word"
    return {"string": word, "integer": 1, "number": 1.5, "boolean": True, "object": {}, "null": None}[part.get("type", "object")]


def test_the_shapes_of_a_release_are_written_down() -> None:
    assert _KEPT, "run scripts/keep-messages"
    # Kept before a release is made, so that the next one finds them.
    assert __version__ in _KEPT or "dev" in __version__


@pytest.mark.parametrize("release", _KEPT)
def test_nothing_keeps_this_release_and_an_earlier_one_from_talking(release: str) -> None:
    """No field gone, none new and required, no type or choice changed. A change within a release that is not out yet: keep it anew."""
    assert list(message_schemas.quarrels(_KEPT[release], _NOW)) == []


@pytest.mark.parametrize(("release", "name"), _PAIRS)
def test_this_release_reads_the_least_that_an_earlier_one_sends(release: str, name: str) -> None:
    schema = _KEPT[release][name]
    envelope.read(getattr(messages, name), _sample(schema, schema, is_full=False))


@pytest.mark.parametrize(("release", "name"), _PAIRS)
def test_an_earlier_release_reads_the_most_that_this_one_sends(release: str, name: str) -> None:
    read = envelope.read(getattr(messages, name), _sample(_NOW[name], _NOW[name], is_full=True))
    jsonschema.validate(read.model_dump(mode="json"), _KEPT[release][name])


def _without(schemas: dict[str, Any]) -> None:
    del schemas["Heartbeat"]["properties"]["incarnation"]
    schemas["Heartbeat"]["required"].remove("incarnation")


def _required(schemas: dict[str, Any]) -> None:
    schemas["Heartbeat"]["properties"]["mood"] = {"type": "string"}
    schemas["Heartbeat"]["required"].append("mood")


def _retyped(schemas: dict[str, Any]) -> None:
    schemas["ReportInventory"]["properties"]["sequence"] = {"type": "string"}


def _deep(schemas: dict[str, Any]) -> None:
    schemas["DescribedGuest"]["$defs"]["Guest"]["required"].append("mood")
    schemas["DescribedGuest"]["$defs"]["Guest"]["properties"]["mood"] = {"type": "string"}


def _choice(schemas: dict[str, Any]) -> None:
    schemas["PowerChanged"]["$defs"]["GuestState"]["enum"].append("dreaming")


def _variant(schemas: dict[str, Any]) -> None:
    schemas["TransferEnded"]["properties"]["progress"]["anyOf"].append({"type": "string"})


def _gone(schemas: dict[str, Any]) -> None:
    del schemas["SignOff"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without, "Heartbeat.incarnation: it is gone"),
        (_required, "Heartbeat.mood: it is new and required"),
        (_retyped, "ReportInventory.sequence: type was 'integer' and is 'string'"),
        (_deep, "DescribedGuest.guest.mood: it is new and required"),
        (_choice, "PowerChanged.state: one release does not know the values dreaming"),
        (_variant, "TransferEnded.progress: it was one of"),
        (_gone, "SignOff: it is gone"),
    ],
)
def test_each_way_to_break_the_older_release_is_found(change: Callable[[dict[str, Any]], None], told: str) -> None:
    changed = copy.deepcopy(_NOW)
    change(changed)
    assert any(one.startswith(told) for one in message_schemas.quarrels(_NOW, changed))


def test_a_new_message_and_a_new_field_with_a_default_are_no_quarrel() -> None:
    changed = copy.deepcopy(_NOW)
    changed["Heartbeat"]["properties"]["mood"] = {"type": "string", "default": ""}
    changed["Sing"] = {"type": "object", "properties": {}}
    assert list(message_schemas.quarrels(_NOW, changed)) == []
