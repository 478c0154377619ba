# SPDX-License-Identifier: Apache-2.0
"""What the repositories of one unit of work share: the open transaction, the time for stamps, new ids.

Knows no table.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from wherry.db import engine as engines

R = TypeVar("R")


class TakesMore(Exception):
    """Raised where only one statement may be run, and nothing has been written: it takes a transaction of several."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One transaction under way."""

    connection: engines.Connection
    dialect: engines.Dialect
    #: Time for every stamp of the unit.
    now: datetime.datetime
    new_uuid: Callable[[], str]
    #: Whether there is no transaction: the first statement that writes is all of it.
    is_single: bool = False

    async def rows(self, statement: sa.Executable, parameters: engines.Parameters | None = None) -> list[engines.Row]:
        """Give all rows."""
        return list((await self.connection.execute(statement, parameters)).all())

    async def row(self, statement: sa.Executable, parameters: engines.Parameters | None = None) -> engines.Row | None:
        """Give the only row, or None."""
        return (await self.connection.execute(statement, parameters)).one_or_none()

    async def change(self, statement: sa.Executable, parameters: engines.Parameters | None = None) -> int:
        """Run a statement that writes; give the number of rows that it met."""
        return (await self.connection.execute(statement, parameters)).rowcount


def is_one_of(column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Say that a column has one of these values, in a statement that is kept: a parameter for each, where `in_` has a list whose
    length is looked at anew at each execution.
    """
    return column.in_([sa.literal(value, column.type) for value in values])


def placeholders(table: sa.Table, prefix: str, names: Iterable[str]) -> dict[str, sa.BindParameter[Any]]:
    """Give, by column, parameters for these columns of a table in a statement about several tables: their names begin with the prefix."""
    return {name: sa.bindparam(f"{prefix}_{name}", type_=table.c[name].type) for name in names}


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of such parameters."""
    return {f"{prefix}_{name}": value for name, value in values.items()}


def columns_of(table: sa.Table, record: type[Any], *, derived: frozenset[str] = frozenset()) -> tuple[sa.Column[Any], ...]:
    """Give the columns that make the record: those named as its fields, in their order."""
    return tuple(table.c[field.name] for field in dataclasses.fields(record) if field.name not in derived)


def record_of(record: type[R], row: engines.Row) -> R:
    """Make the record whose fields are the row's columns."""
    return records_of(record, [row])[0]


def records_of(record: type[R], rows: Sequence[engines.Row]) -> list[R]:
    """Make a record of each row of one answer."""
    if not rows:
        return []
    # A row as a mapping looks each column up by its name, which for a page of rows takes as long as the database does.
    names = rows[0]._fields
    return [record(**dict(zip(names, row, strict=True))) for row in rows]
