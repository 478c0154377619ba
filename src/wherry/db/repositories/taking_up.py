# SPDX-License-Identifier: Apache-2.0
"""Taking up an operation whose checks are to run: claimed, its event opened, its migration read, as one statement.

Only for databases that write in common table expressions (`Dialect.writes_at_once`). Gives no reasons: where the statement met nothing,
nothing was done, and what takes several statements finds out why.
"""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

from wherry.db import engine as engines
from wherry.db import schema
from wherry.db import session as sessions
from wherry.db.repositories import event_rows, migrations
from wherry.model import instance_actions, migration
from wherry.model import operation as model

_T = schema.operations
_M = schema.migrations
_C = schema.conductors
_I = schema.intents
_A = schema.actions
_E = schema.events
_NAMES = tuple(column.name for column in sessions.columns_of(_T, model.Operation))


async def at_once(
    session: sessions.Session, operation_id: str, conductor_id: str, start: instance_actions.EventStart, known: sa.ColumnElement[bool]
) -> tuple[model.Operation, migration.Migration, bool] | None:
    """Do all of it, or nothing: None. The flag says whether somebody wants something of the operation.

    :param known: condition on what this release can drive.
    """
    parameters = {
        "of_id": operation_id,
        "of_conductor": conductor_id,
        "lease_now": session.dialect.lease_moment(session.now),
        "at": session.now,
    }
    parameters |= sessions.prefixed("a", event_rows.touch(session, (), None)) | event_rows.starts(session, (start,))
    row = await session.row(_statement(session.dialect, known), parameters)
    if row is None:
        return None
    size = len(_NAMES)
    taken = model.Operation(**dict(zip(_NAMES, row[:size], strict=True)))
    names = (column.name for column in migrations.COLUMNS)
    return taken, migration.Migration(**dict(zip(names, row[size:-1], strict=True))), bool(row[-1])


@functools.cache
def _statement(dialect: engines.Dialect, known: sa.ColumnElement[bool]) -> sa.Select[Any]:
    now = dialect.lease_time("lease_now")
    own = sa.bindparam("of_conductor", type_=_T.c.owner.type)
    of_action = (_A.c.instance_uuid == _T.c.instance_uuid, _A.c.request_id == _T.c.request_id)
    conditions = (
        _T.c.id == sa.bindparam("of_id"),
        _T.c.finished_at.is_(None),
        sessions.is_one_of(_T.c.step, sorted(model.CHECKING)),
        known,
        _T.c.owner.is_distinct_from(own),
        sa.or_(_T.c.owner.is_(None), ~sa.exists().where(_C.c.id == _T.c.owner, _C.c.expires_at > now)),
        sa.exists().where(_C.c.id == own, _C.c.expires_at > now),
        sa.exists().where(_M.c.uuid == _T.c.id),
        sa.exists().where(*of_action),
    )
    taking = {"owner": own, "epoch": _T.c.epoch + 1, "generation": _T.c.generation + 1, "updated_at": sa.bindparam("at")}
    taken = sa.update(_T).where(*conditions).values(taking).returning(*(_T.c[name] for name in _NAMES)).cte("taken")
    touching = sa.update(_A).where(_A.c.instance_uuid == taken.c.instance_uuid, _A.c.request_id == taken.c.request_id)
    touched = touching.values(sessions.placeholders(_A, "a", ("updated_at", "changed_at"))).returning(_A.c.id).cte("touched")
    opened = event_rows.opening(dialect.insert_ignoring(_E), touched, 1).returning(_E.c.id).cte("opened")
    is_asked = sa.exists().where(_I.c.operation_id == taken.c.id, _I.c.acknowledged_at.is_(None))
    columns = (*taken.c, *(column.label(f"migration_{column.name}") for column in migrations.COLUMNS), is_asked.label("is_asked"))
    joined = taken.join(_M, _M.c.uuid == taken.c.id)
    return sa.select(*columns).select_from(joined).add_cte(touched, opened)
