# SPDX-License-Identifier: Apache-2.0
"""Storing one transition: operation, migration, server, events, all or nothing, guarded by generation, owner and epoch.

What may follow what is asked of model/states.py; nothing is decided here.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import schema
from wherry.db import session as sessions
from wherry.db.repositories import event_rows, migrations, servers, transitions_at_once
from wherry.model import migration, states
from wherry.model import operation as model
from wherry.model import server as server_model

#: Events with which the guest, or its disks, begin to move.
_STARTS = frozenset({states.Event.TRANSFER_STARTED, states.Event.MOVE_STARTED})
_T = schema.operations
_M = schema.migrations
_S = schema.servers
# Put together once: building a statement costs more than running it. What is written is named by the parameters.
_ADVANCE = sa.update(_T).where(
    _T.c.id == sa.bindparam("of_id"),
    _T.c.generation == sa.bindparam("of_generation"),
    _T.c.epoch == sa.bindparam("of_epoch"),
    _T.c.owner.is_not_distinct_from(sa.bindparam("of_owner")),
    _T.c.finished_at.is_(None),
)
_LOOK = sa.select(*migrations.COLUMNS).where(_M.c.uuid == sa.bindparam("of_uuid"))
# No look at the server's generation: the operation holds the server, and a lock set meanwhile by its owner must not stop it.
_FOLLOW = sa.update(_S).where(_S.c.uuid == sa.bindparam("of_uuid")).values(generation=_S.c.generation + 1)


async def store(
    session: sessions.Session, operation: model.Operation, transition: model.Transition
) -> tuple[model.Operation, migration.Migration | None]:
    """Store it; see `Operations.advance`.

    The operation comes first: it decides who may write at all, and its lock puts every other writer of the migration behind this one.
    As a single statement, the last transition is stored only while nobody wants anything of the operation.
    """
    uuid = operation.migration_uuid
    is_over = transition.event is not None and ends(transition.event)
    # A migration may rest between two operations: between the move of a guest and its confirmation.
    is_last = is_over or transition.step is model.StepName.DONE
    if session.dialect.writes_at_once:
        done = await _store_at_once(session, operation, transition, is_last=is_last, is_over=is_over)
        if done is not None:
            return done
        if session.is_single:
            raise sessions.TakesMore
    stored = await _store_operation(session, operation, transition, is_last=is_last)
    moved = None if uuid is None else await _store_migration(session, uuid, transition, is_over=is_over)
    if transition.server is not None:
        await _store_server(session, operation.instance_uuid, transition.server)
    await _store_events(session, operation, transition, is_last=is_last)
    return stored, moved


async def _store_at_once(
    session: sessions.Session, operation: model.Operation, transition: model.Transition, *, is_last: bool, is_over: bool
) -> tuple[model.Operation, migration.Migration | None] | None:
    """Store it in one statement; None: nothing was stored, either because that takes more than one, or for a reason that is to be found."""
    if not _is_about_own_action(operation, transition):
        return None
    uuid = operation.migration_uuid
    columns = {} if uuid is None else _migration_changes(session, transition, is_over=is_over)
    is_moving = bool(columns) or transition.event is not None
    has_events = bool(transition.started or transition.finished or is_last)
    closing = transition.closing if is_last else None
    guards = _guards(operation)
    if is_alone := session.is_single and is_last:
        guards["of_updated_at"] = operation.updated_at
    if transition.event in _STARTS:
        guards["transfer_started_at"] = transition.started_at or session.now
    writes = transitions_at_once.Writes(
        guards=guards,
        is_alone=is_alone,
        operation=(changes := _operation_changes(session, operation, transition, is_last=is_last)),
        migration_uuid=uuid,
        moving=_moving(transition.event) if uuid is not None and is_moving else None,
        takes=_taking(transition.event) if uuid is not None and transition.event is not None else None,
        migration=columns | _stamps(session) if is_moving else {},
        instance_uuid=operation.instance_uuid,
        server=None if transition.server is None else _server_changes(session, transition.server),
        request_id=operation.request_id if has_events else None,
        action=event_rows.touch(session, transition.finished, closing),
        started=transition.started,
        finished=transition.finished,
        closing=closing,
    )
    row = await transitions_at_once.write(session, writes) if transitions_at_once.suits(writes) else None
    if row is None:
        return None
    stored = dataclasses.replace(operation, **changes)
    return stored, None if uuid is None else sessions.record_of(migration.Migration, row)


def _is_about_own_action(operation: model.Operation, transition: model.Transition) -> bool:
    named = [one.request_id for one in transition.started] + [one.request_id for one in transition.finished]
    return all(request_id in (None, operation.request_id) for request_id in named)


@functools.cache
def moves(event: states.Event) -> dict[states.Status, states.Status]:
    """Give the statuses that take the event, each with the one that follows."""
    return {status: states.advance(status, event) for status, row in states.TRANSITIONS.items() if event in row}


@functools.cache
def ends(event: states.Event) -> bool:
    """Whether the event ends a migration, from whichever status."""
    are_terminal = {following in states.TERMINAL for following in moves(event).values()}
    if len(are_terminal) != 1:
        raise TypeError(f"{event} ends a migration from some statuses only; give those cases an event of their own")
    return are_terminal.pop()


async def _store_operation(
    session: sessions.Session, operation: model.Operation, transition: model.Transition, *, is_last: bool
) -> model.Operation:
    changes = _operation_changes(session, operation, transition, is_last=is_last)
    if await session.change(_ADVANCE, _guards(operation) | changes) != 1:
        raise errors.StaleWrite(what="Operation", name=operation.id)
    return dataclasses.replace(operation, **changes)


def _guards(operation: model.Operation) -> dict[str, Any]:
    return {"of_id": operation.id, "of_generation": operation.generation, "of_epoch": operation.epoch, "of_owner": operation.owner}


def _operation_changes(
    session: sessions.Session, operation: model.Operation, transition: model.Transition, *, is_last: bool
) -> dict[str, Any]:
    changes: dict[str, Any] = {"generation": operation.generation + 1, "updated_at": session.now}
    if is_last:
        changes |= {"finished_at": session.now, "step": model.StepName.DONE}
    elif transition.step is not None:
        changes["step"] = transition.step
    if transition.plan is not None:
        changes["plan"] = transition.plan
    return changes


async def _store_migration(session: sessions.Session, uuid: str, transition: model.Transition, *, is_over: bool) -> migration.Migration:
    changes = _migration_changes(session, transition, is_over=is_over)
    if changes or transition.event is not None:
        if transition.event in _STARTS:
            changes["transfer_started_at"] = transition.started_at or session.now
        row = await session.row(_moving(transition.event), {"of_uuid": uuid} | changes | _stamps(session))
    else:
        row = await session.row(_LOOK, {"of_uuid": uuid})
    if row is None:
        await _refuse(session, uuid, transition)
        raise errors.StaleWrite(what="Migration", name=uuid)
    return sessions.record_of(migration.Migration, row)


def _migration_changes(session: sessions.Session, transition: model.Transition, *, is_over: bool) -> dict[str, Any]:
    named = ("dest_compute", "dest_node", "dest_host", "source_node", "reason", "deadline", "progress")
    changes: dict[str, Any] = {name: getattr(transition, name) for name in named if getattr(transition, name) is not None}
    if transition.clear_reason and transition.reason is None:
        changes["reason"] = None
    if transition.deadline is not None:
        changes["deadline_at"] = transition.deadline_at
    if is_over:
        changes["finished_at"] = session.now
    return changes


def _stamps(session: sessions.Session) -> dict[str, Any]:
    return {"updated_at": session.now, "changed_at": session.now}


@functools.cache
def _taking(event: states.Event) -> sa.ColumnElement[bool]:
    return sessions.is_one_of(_M.c.status, list(moves(event)))


@functools.cache
def _moving(event: states.Event | None) -> sa.Update:
    """Build the update that takes the event. Other columns to write are named by its parameters."""
    statement = sa.update(_M).where(_M.c.uuid == sa.bindparam("of_uuid"))
    if event is not None:
        statement = statement.where(_taking(event)).values(status=_following(event))
    if event in _STARTS:
        # Only the first start counts.
        started_at = sa.bindparam("transfer_started_at", type_=_M.c.started_at.type)
        statement = statement.values(started_at=sa.func.coalesce(_M.c.started_at, started_at))
    return statement.returning(*migrations.COLUMNS)


def _following(event: states.Event) -> Any:
    """Give the status after the event, as SQL where it depends on the one before."""
    following = moves(event)
    if len(set(following.values())) == 1:
        return next(iter(following.values()))
    return sa.case(*((_M.c.status == before, sa.literal(after, _M.c.status.type)) for before, after in following.items()))


async def _refuse(session: sessions.Session, uuid: str, transition: model.Transition) -> None:
    """Say by the table why the migration did not move."""
    row = await session.row(sa.select(_M.c.status).where(_M.c.uuid == uuid))
    if row is not None and transition.event is not None:
        states.advance(row.status, transition.event)


async def _store_server(session: sessions.Session, instance_uuid: str, change: server_model.ServerChange) -> None:
    if await session.change(_FOLLOW, {"of_uuid": instance_uuid} | _server_changes(session, change)) != 1:
        raise errors.ServerNotFound(uuid=instance_uuid)


def _server_changes(session: sessions.Session, change: server_model.ServerChange) -> dict[str, Any]:
    changes: dict[str, Any] = {
        field.name: value
        for field in dataclasses.fields(change)
        if field.type != "bool" and (value := getattr(change, field.name)) is not None
    }
    if change.flavor is not None:
        sizes = {"vcpus": change.flavor.vcpus, "memory_mib": change.flavor.memory_mib, "root_gib": change.flavor.root_gib}
        # What the guest was read to have is truer than what it was to have.
        changes = servers.columns_of_flavor(change.flavor) | sizes | {name: value for name, value in changes.items() if name != "flavor"}
    return changes | _flagged(session, change) | _stamps(session)


def _flagged(session: sessions.Session, change: server_model.ServerChange) -> dict[str, Any]:
    """Give what the flags of a change stand for."""
    cleared = {
        "task_state": change.clear_task,
        "fault": change.clear_fault,
        "host": change.clear_host,
        "node": change.clear_host,
    }
    stamped = {"launched_at": change.is_launched, "deleted_at": change.is_deleted}
    return {name: None for name, is_set in cleared.items() if is_set} | {name: session.now for name, is_set in stamped.items() if is_set}


async def _store_events(session: sessions.Session, operation: model.Operation, transition: model.Transition, *, is_last: bool) -> None:
    own = operation.request_id
    requests = [finish.request_id or own for finish in transition.finished] + [start.request_id or own for start in transition.started]
    for request_id in dict.fromkeys([own, *requests] if is_last else requests):
        await event_rows.write(
            session,
            (operation.instance_uuid, request_id),
            started=[start for start in transition.started if (start.request_id or own) == request_id],
            finished=[finish for finish in transition.finished if (finish.request_id or own) == request_id],
            closing=transition.closing if is_last and request_id == own else None,
        )
