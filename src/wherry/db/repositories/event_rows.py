# SPDX-License-Identifier: Apache-2.0
"""Rows of instance events: opened once, closed once, however often it is asked.

Called inside the transaction that does what the event tells of. Decides no outcome.
"""

from __future__ import annotations

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
    """Close, then open, events of one action: three statements at most.

    :param action: instance uuid and request id.
    :param closing: outcome for every other event of the action that is open; None leaves those open.
    :raises ActionNotFound: the server has no action of that request.
    """
    instance_uuid, request_id = action
    outcomes = [finish.outcome for finish in finished] + ([closing] if closing else [])
    values: dict[str, Any] = {"updated_at": session.now, "changed_at": session.now}
    if any(outcome.result is model.Result.ERROR for outcome in outcomes):
        values["message"] = model.Result.ERROR.value
    touch = sa.update(_A).where(_A.c.instance_uuid == instance_uuid, _A.c.request_id == request_id).values(**values).returning(_A.c.id)
    row = await session.row(touch)
    if row is None:
        raise errors.ActionNotFound(request_id=request_id)
    if finished or closing:
        await session.change(_finish(session, row.id, finished, closing))
    if started:
        opened = [{"action_id": row.id, "name": start.name.value, "host": start.host, "started_at": session.now} for start in started]
        await session.change(session.dialect.insert_ignoring(_E).values(opened))


def _finish(
    session: sessions.Session, action_id: int, finished: Sequence[model.EventFinish], closing: model.EventOutcome | None
) -> sa.Update:
    """One statement for all of them: the outcome is chosen by name and host."""
    named = [(sa.and_(_E.c.name == finish.name.value, _E.c.host == finish.host), finish.outcome) for finish in finished]
    statement = sa.update(_E).where(_E.c.action_id == action_id, _E.c.finished_at.is_(None))
    if closing is None:
        statement = statement.where(sa.or_(*(condition for condition, _ in named)))

    def chosen(column: sa.Column[Any], field: str) -> Any:
        otherwise = sa.literal(getattr(closing, field) if closing else None, column.type)
        if not named:
            return otherwise
        return sa.case(*((condition, sa.literal(getattr(outcome, field), column.type)) for condition, outcome in named), else_=otherwise)

    return statement.values(
        finished_at=session.now,
        result=chosen(_E.c.result, "result"),
        details=chosen(_E.c.details, "details"),
        traceback=chosen(_E.c.traceback, "traceback"),
    )
