# SPDX-License-Identifier: Apache-2.0
"""One transition as one statement, for a database to which each statement is a trip.

Writes what `transitions.store` writes in up to six, and gives no reasons: where the statement met nothing, nothing was done, and the
statements there find out why.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from wherry.db import engine as engines
from wherry.db import schema
from wherry.db import session as sessions
from wherry.db.repositories import event_rows, migrations
from wherry.model import instance_actions

_T = schema.operations
_M = schema.migrations
_S = schema.servers
_A = schema.actions
_E = schema.events
_I = schema.intents
_PENDING = sa.exists().where(_I.c.operation_id == sa.bindparam("of_id"), _I.c.acknowledged_at.is_(None))

#: Column -> value.
Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Writes:
    """What a transition comes to: the rows that it is about, and what each of them is given."""

    #: Values of the guards: of_id, of_generation, of_epoch, of_owner, of_updated_at.
    guards: Values
    operation: Values
    #: Nothing is done while somebody wants anything of the operation: what follows from that takes more statements.
    is_alone: bool
    #: None: it is about no migration.
    migration_uuid: str | None
    #: How the migration moves, and with which columns; None where only its record is asked for.
    moving: sa.Update | None
    #: Condition on the migration's row as it was; None: any will do.
    takes: sa.ColumnElement[bool] | None
    migration: Values
    instance_uuid: str
    #: None: the server stays as it is.
    server: Values | None
    #: Request id of the action whose events are written; None: none is.
    request_id: str | None
    action: Values
    started: tuple[instance_actions.EventStart, ...] = ()
    finished: tuple[instance_actions.EventFinish, ...] = ()
    closing: instance_actions.EventOutcome | None = None


def suits(writes: Writes) -> bool:
    """Whether one statement can do it: not where an event is closed and opened again, since it sees the rows as they were before it."""
    if not writes.started:
        return True
    closed = {(one.name, one.host) for one in writes.finished}
    return writes.closing is None and closed.isdisjoint((one.name, one.host) for one in writes.started)


async def write(session: sessions.Session, writes: Writes) -> engines.Row | None:
    """Do all of it, or nothing: None. The row is the migration's, where there is one."""
    shape = _Shape(
        operation=tuple(writes.operation),
        moving=writes.moving,
        takes=writes.takes,
        has_migration=writes.migration_uuid is not None,
        migration=tuple(writes.migration),
        server=None if writes.server is None else tuple(writes.server),
        action=None if writes.request_id is None else tuple(writes.action),
        started=len(writes.started),
        finished=len(writes.finished),
        is_closing=writes.closing is not None,
        opening=session.dialect.insert_ignoring(_E),
        is_alone=writes.is_alone,
    )
    parameters: dict[str, Any] = {**writes.guards, "of_uuid": writes.migration_uuid, "of_instance": writes.instance_uuid}
    parameters |= sessions.prefixed("o", writes.operation) | sessions.prefixed("m", writes.migration)
    parameters |= sessions.prefixed("s", writes.server or {})
    if writes.request_id is not None:
        parameters |= {"of_request": writes.request_id} | sessions.prefixed("a", writes.action)
    parameters |= event_rows.starts(session, writes.started)
    if writes.finished or writes.closing:
        parameters |= event_rows.outcomes(session, writes.finished, writes.closing)
    return await session.row(_statement(shape), parameters)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """All by which two such statements differ; their number is that of the kinds of transitions."""

    operation: tuple[str, ...]
    moving: sa.Update | None
    takes: sa.ColumnElement[bool] | None
    has_migration: bool
    migration: tuple[str, ...]
    server: tuple[str, ...] | None
    action: tuple[str, ...] | None
    started: int
    finished: int
    is_closing: bool
    #: Inserts events, and leaves those alone that are open.
    opening: sa.Insert
    is_alone: bool


@functools.cache
def _statement(shape: _Shape) -> sa.Select[Any]:
    moved = _moved(shape)
    others: list[sa.CTE] = []
    # The order in which everybody locks them: operation, migration, server.
    record = _migration_of(shape, moved)
    if shape.server is not None:
        server = sa.update(_S).where(_S.c.uuid == sa.bindparam("of_instance"), _S.c.uuid == moved.c.instance_uuid)
        given = sessions.placeholders(_S, "s", shape.server) | {"generation": _S.c.generation + 1}
        others.append(server.values(given).returning(_S.c.id).cte("served"))
    if shape.action is not None:
        others += _events(shape, moved)
    if record is None:
        return sa.select(moved.c.id).add_cte(*others)
    joined = moved.outerjoin(record, record.c.uuid == moved.c.migration_uuid)
    return sa.select(*(record.c[column.name] for column in migrations.COLUMNS)).select_from(joined).add_cte(*others)


def _moved(shape: _Shape) -> sa.CTE:
    conditions: list[sa.ColumnElement[bool]] = [
        _T.c.id == sa.bindparam("of_id"),
        _T.c.generation == sa.bindparam("of_generation"),
        _T.c.epoch == sa.bindparam("of_epoch"),
        _T.c.owner.is_not_distinct_from(sa.bindparam("of_owner")),
        _T.c.finished_at.is_(None),
    ]
    if shape.has_migration:
        looked = sa.exists().where(_M.c.uuid == sa.bindparam("of_uuid"))
        conditions.append(looked if shape.takes is None else looked.where(shape.takes))
    if shape.action is not None:
        conditions.append(sa.exists().where(*_of_action()))
    if shape.is_alone:
        # Each intent changes the second: one that is committed while this statement waits for its locks is not seen by the first.
        conditions += [~_PENDING, _T.c.updated_at.is_not_distinct_from(sa.bindparam("of_updated_at", type_=_T.c.updated_at.type))]
    # For the rows that hang on it: what is not moved moves none of them.
    hooks: list[sa.ColumnElement[Any]] = [_T.c.id, _T.c.instance_uuid, _T.c.request_id]
    if shape.has_migration:
        hooks.append(sa.bindparam("of_uuid", type_=_M.c.uuid.type).label("migration_uuid"))
    return sa.update(_T).where(*conditions).values(sessions.placeholders(_T, "o", shape.operation)).returning(*hooks).cte("moved")


def _migration_of(shape: _Shape, moved: sa.CTE) -> sa.CTE | sa.Table | None:
    if not shape.has_migration:
        return None
    if shape.moving is None:
        return _M
    return (
        shape.moving.where(_M.c.uuid == moved.c.migration_uuid)
        .values(sessions.placeholders(_M, "m", shape.migration))
        .returning(*migrations.COLUMNS)
        .cte("record")
    )


def _of_action() -> tuple[sa.ColumnElement[bool], ...]:
    return _A.c.instance_uuid == sa.bindparam("of_instance"), _A.c.request_id == sa.bindparam("of_request")


def _events(shape: _Shape, moved: sa.CTE) -> list[sa.CTE]:
    own = (_A.c.instance_uuid == moved.c.instance_uuid, _A.c.request_id == moved.c.request_id)
    touched = (
        sa.update(_A)
        .where(*_of_action(), *own)
        .values(sessions.placeholders(_A, "a", shape.action or ()))
        .returning(_A.c.id)
        .cte("touched")
    )
    written = [touched]
    if shape.finished or shape.is_closing:
        closed = event_rows.finishing(shape.finished, is_closing=shape.is_closing).where(_E.c.action_id == touched.c.id)
        written.append(closed.returning(_E.c.id).cte("closed"))
    if shape.started:
        written.append(event_rows.opening(shape.opening, touched, shape.started).returning(_E.c.id).cte("opened"))
    return written
