# SPDX-License-Identifier: Apache-2.0
"""Column types: how records of the model are written in a database.

Knows no table.
"""

from __future__ import annotations

import datetime
import enum
import functools
from typing import Any, TypeVar

import pydantic
import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import interfaces

_E = TypeVar("_E", bound=enum.Enum)


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


class Word(types.TypeDecorator[_E]):
    """A member of an enumeration, stored as its value."""

    impl = sa.String
    cache_ok = True

    def __init__(self, words: type[_E]) -> None:
        super().__init__(64)
        self.words = words
        # Calling the enumeration takes longer, and a page has thousands of these.
        self._known: dict[str, _E] = {word.value: word for word in words}

    def process_bind_param(self, value: Any, dialect: interfaces.Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: interfaces.Dialect) -> _E | None:
        return None if value is None else self._known.get(value) or self.words(value)


class Words(types.TypeDecorator[tuple[str, ...]]):
    """Several words without commas, as ",one,two,", so that one of them is found as ",one,"."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | str | None, dialect: interfaces.Dialect) -> str | None:
        # A text is what a list is searched for.
        return value if value is None or isinstance(value, str) else "".join(f",{word}" for word in value) + ","

    def process_result_value(self, value: str | None, dialect: interfaces.Dialect) -> tuple[str, ...]:
        return tuple(word for word in (value or "").split(",") if word)


class Number(types.TypeDecorator[_E]):
    """A member of an enumeration of numbers, stored as its number."""

    impl = sa.Integer
    cache_ok = True

    def __init__(self, words: type[_E]) -> None:
        super().__init__()
        self.words = words
        self._known: dict[int, _E] = {word.value: word for word in words}

    def process_bind_param(self, value: Any, dialect: interfaces.Dialect) -> int | None:
        return None if value is None else int(self.words(value).value)

    def process_result_value(self, value: Any, dialect: interfaces.Dialect) -> _E | None:
        return None if value is None else self._known.get(value) or self.words(value)


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
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, shape: Any, *, is_immutable: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.is_immutable = is_immutable

    def process_bind_param(self, value: Any, dialect: interfaces.Dialect) -> str | None:
        return None if value is None else adapter(self.shape).dump_json(value).decode()

    def process_result_value(self, value: str | None, dialect: interfaces.Dialect) -> Any:
        if value is None:
            return None
        return _read_shared(self.shape, value) if self.is_immutable else adapter(self.shape).validate_json(value)
