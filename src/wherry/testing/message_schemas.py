# SPDX-License-Identifier: Apache-2.0
"""Shapes of messages as JSON schemas: written down for each release, and compared so that two releases can talk to each other.

Knows no message by name; what a message means is not looked at.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from wherry import __version__
from wherry.rpc import messages

#: A JSON schema, or a part of one.
Schema = Mapping[str, Any]

#: Where the shapes of each release lie, in the source tree.
KEPT = pathlib.Path("tests/contract/messages")
#: Words about a value that a reader does not check, or that are compared on their own.
_UNCHECKED = frozenset({"title", "description", "default", "properties", "required", "$ref", "$defs", "anyOf", "enum", "const"})


def current() -> dict[str, Any]:
    """Give the schema of every message of this release, by name."""
    types = (getattr(messages, name) for name in messages.__all__)
    named = [one for one in types if isinstance(one, type) and issubclass(one, messages.Message)]
    return {one.__name__: one.model_json_schema(mode="validation") for one in named if "[" not in one.__name__}


def keep(where: pathlib.Path = KEPT, schemas: Mapping[str, Schema] | None = None) -> pathlib.Path:
    """Write this release's schemas down, of messages unless others are given; gives the file."""
    path = where / f"{__version__}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line a message: a change then shows which ones it touches.
    told = _bare(current() if schemas is None else dict(schemas))
    lines = (f"{json.dumps(name)}: {json.dumps(schema, sort_keys=True)}" for name, schema in sorted(told.items()))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return path


def kept(where: pathlib.Path = KEPT) -> dict[str, dict[str, Any]]:
    """Give what was written down, by release."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(where.glob("*.json"))}


def quarrels(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> Iterator[str]:
    """Say what keeps two releases from reading each other's messages; nothing when they can."""
    for name, schema in old.items():
        if name not in new:
            yield f"{name}: it is gone; the older release still sends it"
        else:
            yield from _of_value(name, _Side(schema, schema), _Side(new[name], new[name]))


class _Side:
    """A part of a schema with the whole that its references lead into."""

    def __init__(self, part: Schema, whole: Schema) -> None:
        self.whole = whole
        while "$ref" in part:
            part = whole["$defs"][part["$ref"].rpartition("/")[2]]
        self.part = part

    def of(self, part: Schema) -> _Side:
        return _Side(part, self.whole)

    @property
    def properties(self) -> Mapping[str, Schema]:
        found: Mapping[str, Schema] = self.part.get("properties", {})
        return found

    @property
    def kind(self) -> str:
        """Name the variant, to find it among others."""
        return str(self.part.get("type", self.part.get("title", "any"))) + (":" + self.part["title"] if "properties" in self.part else "")


def _of_value(where: str, old: _Side, new: _Side, seen: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    if (id(old.part), id(new.part)) in seen:
        return
    seen = (*seen, (id(old.part), id(new.part)))
    yield from _of_words(where, old.part, new.part)
    if "properties" in old.part or "properties" in new.part:
        yield from _of_fields(where, old, new, seen)
    for word in ("items", "additionalProperties"):
        if isinstance(old.part.get(word), dict) and isinstance(new.part.get(word), dict):
            yield from _of_value(f"{where}[]", old.of(old.part[word]), new.of(new.part[word]), seen)
    variants = {side.kind: side for side in map(old.of, old.part.get("anyOf", ()))}
    others = {side.kind: side for side in map(new.of, new.part.get("anyOf", ()))}
    if variants.keys() != others.keys():
        yield f"{where}: it was one of {sorted(variants)} and is one of {sorted(others)}"
    for kind in variants.keys() & others.keys():
        yield from _of_value(where, variants[kind], others[kind], seen)


def _of_fields(where: str, old: _Side, new: _Side, seen: tuple[tuple[int, int], ...]) -> Iterator[str]:
    for name, schema in old.properties.items():
        if name not in new.properties:
            yield f"{where}.{name}: it is gone; the older release still sends it, and may need it"
        else:
            yield from _of_value(f"{where}.{name}", old.of(schema), new.of(new.properties[name]), seen)
    for name in new.part.get("required", ()):
        if name not in old.properties:
            yield f"{where}.{name}: it is new and required; the older release does not send it: give it a default"


def _of_words(where: str, old: Schema, new: Schema) -> Iterator[str]:
    """Compare what both sides check of a value; each must accept what the other sends."""
    for word in sorted((old.keys() | new.keys()) - _UNCHECKED):
        before, after = old.get(word), new.get(word)
        if before != after and not (isinstance(before, dict) and isinstance(after, dict)):
            yield f"{where}: {word} was {before!r} and is {after!r}"
    allowed, now = set(_values(old)), set(_values(new))
    if allowed != now:
        added, lost = sorted(map(str, now - allowed)), sorted(map(str, allowed - now))
        yield f"{where}: one release does not know the values {', '.join([*added, *lost])}"


def _values(part: Schema) -> list[Any]:
    return [part["const"]] if "const" in part else list(part.get("enum", ()))


def _bare(part: Any) -> Any:
    """Leave out what only people read."""
    if isinstance(part, dict):
        is_names = not part.keys().isdisjoint({"properties", "$defs"})
        return {
            key: {name: _bare(value) for name, value in item.items()} if is_names and key in ("properties", "$defs") else _bare(item)
            for key, item in part.items()
            if key != "description"
        }
    return [_bare(item) for item in part] if isinstance(part, list) else part
