# SPDX-License-Identifier: Apache-2.0
"""Rows of instance events: opened once, closed once, however often it is asked.

Called inside the transaction that does what the event tells of. Decides no outcome.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import instance_actions as model

_A = schema.actions
_E = schema.events


async def write(
    session: sessions.Session,
    action: tuple[str, str],
    *,
    started: Sequence[model.EventStart] = (),
    finished: Sequence[model.EventFinish] = (),
    closing: model.EventOutcome | None = None,
) -> None:
    """Close, then open, events of one action: three statements at most, one where the database writes at once and they are closed only.

    :param action: instance uuid and request id.
    :param closing: outcome for every other event of the action that is open; None leaves those open.
    :raises ActionNotFound: the server has no action of that request.
    """
    instance_uuid, request_id = action
    if session.dialect.writes_at_once and not started and (finished or closing):
        values = touch(session, finished, closing)
        at_once = _closing_at_once(len(finished), tuple(values), is_closing=closing is not None)
        given = {"of_instance": instance_uuid, "of_request": request_id} | sessions.prefixed("a", values)
        if await session.row(at_once, given | outcomes(session, finished, closing)) is None:
            raise errors.ActionNotFound(request_id=request_id)
        return
    row = await session.row(_TOUCH, {"of_instance": instance_uuid, "of_request": request_id} | touch(session, finished, closing))
    if row is None:
        raise errors.ActionNotFound(request_id=request_id)
    if finished or closing:
        statement = _of_action(len(finished), is_closing=closing is not None)
        await session.change(statement, {"of_action": row.id} | outcomes(session, finished, closing))
    if started:
        opened = [{"action_id": row.id, "name": start.name.value, "host": start.host, "started_at": session.now} for start in started]
        await session.connection.execute(session.dialect.insert_ignoring(_E), opened)


def touch(session: sessions.Session, finished: Sequence[model.EventFinish], closing: model.EventOutcome | None) -> dict[str, Any]:
    """Give what the action itself shows of it."""
    ends = [finish.outcome for finish in finished] + ([closing] if closing else [])
    values: dict[str, Any] = {"updated_at": session.now, "changed_at": session.now}
    if any(outcome.result is model.Result.ERROR for outcome in ends):
        values["message"] = model.Result.ERROR.value
    return values


_TOUCH = (
    sa.update(_A).where(_A.c.instance_uuid == sa.bindparam("of_instance"), _A.c.request_id == sa.bindparam("of_request")).returning(_A.c.id)
)
#: Columns of an event that its outcome fills.
_TOLD = ("result", "details", "traceback")


@functools.cache
def _of_action(named: int, *, is_closing: bool) -> sa.Update:
    return finishing(named, is_closing=is_closing).where(_E.c.action_id == sa.bindparam("of_action"))


@functools.cache
def _closing_at_once(named: int, names: tuple[str, ...], *, is_closing: bool) -> sa.Select[Any]:
    touched = _TOUCH.values(sessions.placeholders(_A, "a", names)).cte("touched")
    closed = finishing(named, is_closing=is_closing).where(_E.c.action_id == touched.c.id)
    return sa.select(touched.c.id).add_cte(closed.returning(_E.c.id).cte("closed"))


def finishing(named: int, *, is_closing: bool) -> sa.Update:
    """Build the one statement that closes so many named events, and all others where `is_closing`; of which action is still to be said."""
    conditions = [sa.and_(_E.c.name == sa.bindparam(f"name_{n}"), _E.c.host == sa.bindparam(f"host_{n}")) for n in range(named)]
    statement = sa.update(_E).where(_E.c.finished_at.is_(None))
    if not is_closing:
        statement = statement.where(sa.or_(*conditions))

    def chosen(column: sa.Column[Any]) -> Any:
        told = [(condition, sa.bindparam(f"{column.name}_{n}", type_=column.type)) for n, condition in enumerate(conditions)]
        otherwise = sa.bindparam(f"{column.name}_closing", type_=column.type) if is_closing else None
        return sa.case(*told, else_=otherwise) if told else otherwise

    given = {"finished_at": sa.bindparam("event_finished_at", type_=_E.c.finished_at.type)}
    return statement.values(given | {name: chosen(_E.c[name]) for name in _TOLD})


def opening(insert: sa.Insert, touched: sa.CTE, started: int) -> sa.Insert:
    """Build the insert of so many events into an action that the same statement touches.

    :param insert: leaves alone what is open already.
    """
    rows = [
        sa.select(
            touched.c.id,
            sa.bindparam(f"start_name_{n}", type_=_E.c.name.type).label("name"),
            sa.bindparam(f"start_host_{n}", type_=_E.c.host.type).label("host"),
            sa.bindparam("event_started_at", type_=_E.c.started_at.type).label("started_at"),
        )
        for n in range(started)
    ]
    return insert.from_select(["action_id", "name", "host", "started_at"], sa.union_all(*rows))


def starts(session: sessions.Session, started: Sequence[model.EventStart]) -> dict[str, Any]:
    """Give the parameters of `opening`."""
    parameters: dict[str, Any] = {"event_started_at": session.now} if started else {}
    for n, start in enumerate(started):
        parameters |= {f"start_name_{n}": start.name.value, f"start_host_{n}": start.host}
    return parameters


def outcomes(session: sessions.Session, finished: Sequence[model.EventFinish], closing: model.EventOutcome | None) -> dict[str, Any]:
    """Give the parameters of `finishing`."""
    parameters: dict[str, Any] = {"event_finished_at": session.now}
    for n, finish in enumerate(finished):
        parameters |= {f"name_{n}": finish.name.value, f"host_{n}": finish.host}
        parameters |= {f"{name}_{n}": getattr(finish.outcome, name) for name in _TOLD}
    if closing is not None:
        parameters |= {f"{name}_closing": getattr(closing, name) for name in _TOLD}
    return parameters
