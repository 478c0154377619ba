# SPDX-License-Identifier: Apache-2.0
"""Column types: how records of the model are written in a database.

Knows no table.
"""

from __future__ import annotations

import datetime
import enum
import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic
import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import interfaces

_E = TypeVar("_E", bound=enum.Enum)
_W = TypeVar("_W", bound=enum.StrEnum)
_N = TypeVar("_N", bound=enum.IntEnum)


class UtcDateTime(types.TypeDecorator[datetime.datetime]):
    """A moment: aware in Python, in UTC in the database."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: interfaces.Dialect) -> types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime.datetime | None, dialect: interfaces.Dialect) -> datetime.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; stamps are aware")
        value = value.astimezone(datetime.UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime.datetime | None, dialect: interfaces.Dialect) -> datetime.datetime | None:
        if value is None or value.tzinfo is datetime.UTC:
            return value
        return value.astimezone(datetime.UTC) if value.tzinfo else value.replace(tzinfo=datetime.UTC)


class Word(types.TypeDecorator[_W]):
    """A member of an enumeration, stored as its value.

    What only a newer release knows is read as a word of the enumeration's type that is none of its members: it is shown, and written
    back, as it is, and is nothing that this release acts on.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, words: type[_W]) -> None:
        super().__init__(64)
        self.words = words
        # Calling the enumeration takes longer, and a page has thousands of these.
        self._known: dict[str, _W] = {word.value: word for word in words}

    def process_bind_param(self, value: Any, dialect: interfaces.Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: interfaces.Dialect) -> _W | None:
        return None if value is None else self._known.get(value) or _unlisted(str.__new__(self.words, value), value)


class Words(types.TypeDecorator[tuple[str, ...]]):
    """Several words without commas, as ",one,two,", so that one of them is found as ",one,"."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | str | None, dialect: interfaces.Dialect) -> str | None:
        # A text is what a list is searched for.
        return value if value is None or isinstance(value, str) else "".join(f",{word}" for word in value) + ","

    def process_result_value(self, value: str | None, dialect: interfaces.Dialect) -> tuple[str, ...]:
        return tuple(word for word in (value or "").split(",") if word)


class Number(types.TypeDecorator[_N]):
    """A member of an enumeration of numbers, stored as its number. One that only a newer release knows is read as with `Word`."""

    impl = sa.Integer
    cache_ok = True

    def __init__(self, words: type[_N]) -> None:
        super().__init__()
        self.words = words
        self._known: dict[int, _N] = {word.value: word for word in words}

    def process_bind_param(self, value: Any, dialect: interfaces.Dialect) -> int | None:
        return None if value is None else int(self.words(value).value)

    def process_result_value(self, value: Any, dialect: interfaces.Dialect) -> _N | None:
        return None if value is None else self._known.get(value) or _unlisted(int.__new__(self.words, value), value)


def _unlisted(word: _E, value: object) -> _E:
    """Make a bare word of an enumeration's type one that has this value and stands in no list: no member is equal to it."""
    word._name_, word._value_ = str(value), value
    return word


@functools.cache
def adapter(shape: Any) -> pydantic.TypeAdapter[Any]:
    """Give the one adapter of a type: making one is slow."""
    return pydantic.TypeAdapter(shape)


@functools.lru_cache(maxsize=16384)
def _read_shared(shape: Any, text: str) -> Any:
    return adapter(shape).validate_json(text)


class Json(types.TypeDecorator[Any]):
    """A record of the model, stored as JSON text. Fields that are not known here are ignored, so that releases mix.

    :param is_immutable: whether equal texts may share one decoded record, which spares decoding the same host again and again.
    :param newer: given what a text of no known shape says, gives the record of it; None where it is no newer release's either.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, shape: Any, *, is_immutable: bool = False, newer: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.is_immutable = is_immutable
        self.newer = newer

    def process_bind_param(self, value: Any, dialect: interfaces.Dialect) -> str | None:
        return None if value is None else adapter(self.shape).dump_json(value).decode()

    def process_result_value(self, value: str | None, dialect: interfaces.Dialect) -> Any:
        if value is None:
            return None
        try:
            return _read_shared(self.shape, value) if self.is_immutable else adapter(self.shape).validate_json(value)
        except pydantic.ValidationError:
            newer = None if self.newer is None else self.newer(json.loads(value))
            if newer is None:
                raise
            return newer
