# SPDX-License-Identifier: Apache-2.0
"""Order and pages: sort keys, and "everything after this row", right with equal values and with missing ones.

Knows no table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import engine as engines
from wherry.db import session as sessions


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SortKey:
    """One column to sort by. Rows without a value come last when descending, first when ascending."""

    name: str
    is_descending: bool = True


#: What Nova sorts by where the client does not say.
NEWEST_FIRST = (SortKey(name="created_at"), SortKey(name="id"))


def with_tie_break(keys: Sequence[SortKey]) -> tuple[SortKey, ...]:
    """Add created_at and id, so that no two rows are equal. Their direction is the first key's."""
    is_descending = keys[0].is_descending if keys else True
    named = {key.name for key in keys}
    rest = (SortKey(name=name, is_descending=is_descending) for name in ("created_at", "id") if name not in named)
    return (*keys, *rest)


async def page(
    session: sessions.Session,
    chosen: sa.Select[Any],
    table: sa.Table,
    keys: Sequence[SortKey],
    *,
    limit: int | None,
    marker: str | None,
    find: Callable[[str], Awaitable[engines.Row | None]],
) -> list[engines.Row]:
    """Give the chosen rows of a table, in the order of the keys.

    :param limit: the most of them; None: all.
    :param marker: names the row after which the page begins; None: it is the first page.
    :param find: gives the row of a marker, whether it is among the chosen or not.
    :raises MarkerNotFound: there is no such row.
    """
    statement = chosen.order_by(*order_by(table, keys))
    if marker is not None:
        last_before = await find(marker)
        if last_before is None:
            raise errors.MarkerNotFound(marker=marker)
        statement = statement.where(after(table, keys, last_before))
    if limit is not None:
        statement = statement.limit(limit)
    return await session.rows(statement)


def order_by(table: sa.Table, keys: Sequence[SortKey]) -> list[sa.ColumnElement[Any]]:
    """Give the ORDER BY, the same on every database whatever it thinks of NULL."""
    order: list[sa.ColumnElement[Any]] = []
    for key in keys:
        column = table.c[key.name]
        if column.nullable:
            order.append(_presence(column).desc() if key.is_descending else _presence(column).asc())
        order.append(column.desc() if key.is_descending else column.asc())
    return order


def after(table: sa.Table, keys: Sequence[SortKey], marker: engines.Row) -> sa.ColumnElement[bool]:
    """Give the condition for the rows that follow the marker in the order of the keys.

    :param marker: holds every key's column.
    """
    alternatives: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for key in keys:
        column, value = table.c[key.name], marker._mapping[key.name]
        alternatives += [sa.and_(*equal, beyond) for beyond in _beyond(column, value, is_descending=key.is_descending)]
        equal.append(column.is_(None) if value is None else column == value)
    return sa.or_(*alternatives)


def _presence(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.case((column.is_(None), 0), else_=1)


def _beyond(column: sa.Column[Any], value: Any, *, is_descending: bool) -> list[sa.ColumnElement[bool]]:
    if value is None:
        return [] if is_descending else [column.is_not(None)]
    if is_descending:
        return [column < value, column.is_(None)] if column.nullable else [column < value]
    return [column > value]
