# SPDX-License-Identifier: Apache-2.0
"""Instance actions and their events: what was asked of a server, and how each stage went."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import functools

import sqlalchemy as sa

from wherry import errors
from wherry.db import engine as engines
from wherry.db import paging, schema
from wherry.db import session as sessions
from wherry.db.repositories import event_rows
from wherry.model import instance_actions as model

_A = schema.actions
_E = schema.events
_NO_EVENTS = frozenset({"events"})
_COLUMNS = sessions.columns_of(_A, model.InstanceAction, derived=_NO_EVENTS)
_EVENT_COLUMNS = sessions.columns_of(_E, model.InstanceEvent)
_NEWEST_FIRST = (paging.SortKey(name="started_at"), paging.SortKey(name="id"))


_EVENTS_OF = sa.select(*_EVENT_COLUMNS).where(_E.c.action_id == sa.bindparam("action_id")).order_by(_E.c.started_at.desc(), _E.c.id.desc())
_ONE = sa.select(*_COLUMNS).where(_A.c.instance_uuid == sa.bindparam("instance_uuid"), _A.c.request_id == sa.bindparam("request_id"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ActionQuery:
    """Which actions of a server a list shows; None = any. Newest first."""

    instance_uuid: str
    changes_since: datetime.datetime | None = None
    changes_before: datetime.datetime | None = None
    limit: int | None = None
    #: Request id of the last action of the page before.
    marker: str | None = None


class Actions:
    """Records of instance actions."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, instance_uuid: str, request_id: str) -> model.InstanceAction:
        """Give one action with its events, newest first.

        :raises ActionNotFound: the server has no action of that request.
        """
        action = await self._one(instance_uuid, request_id)
        if action is None:
            raise errors.ActionNotFound(request_id=request_id)
        events = tuple(sessions.records_of(model.InstanceEvent, await self._session.rows(_EVENTS_OF, {"action_id": action.id})))
        return model.InstanceAction(**action._mapping, events=events)

    async def list(self, query: ActionQuery) -> builtins.list[model.InstanceAction]:
        """Give one page, without events.

        :raises MarkerNotFound: the server has no action of that request.
        """
        chosen = sa.select(*_COLUMNS).where(_A.c.instance_uuid == query.instance_uuid)
        if query.changes_since is not None:
            chosen = chosen.where(_A.c.changed_at >= query.changes_since)
        if query.changes_before is not None:
            chosen = chosen.where(_A.c.changed_at <= query.changes_before)
        find = functools.partial(self._one, query.instance_uuid)
        rows = await paging.page(self._session, chosen, _A, _NEWEST_FIRST, limit=query.limit, marker=query.marker, find=find)
        return [sessions.record_of(model.InstanceAction, row) for row in rows]

    async def record(
        self, *, instance_uuid: str, request_id: str, action: model.ActionName, user_id: str, project_id: str
    ) -> model.InstanceAction:
        """Record what was asked of a server. Asking again under the same request id gives what is there."""
        now = self._session.now
        values = {"instance_uuid": instance_uuid, "request_id": request_id, "user_id": user_id, "project_id": project_id}
        insert = self._session.dialect.insert_ignoring(_A)
        row = await self._session.row(insert.values(**values, action=action.value, started_at=now, changed_at=now).returning(*_COLUMNS))
        row = row or await self._one(instance_uuid, request_id)
        if row is None:
            raise errors.StaleWrite(what="Action", name=request_id)
        return sessions.record_of(model.InstanceAction, row)

    async def start_event(self, instance_uuid: str, request_id: str, start: model.EventStart) -> None:
        """Open an event outside a transition; one that is open already is left as it is.

        :raises ActionNotFound: the server has no action of that request.
        """
        await event_rows.write(self._session, (instance_uuid, start.request_id or request_id), started=[start])

    async def finish_event(self, instance_uuid: str, request_id: str, finish: model.EventFinish) -> None:
        """Close the open event of that name and host outside a transition; without one, nothing changes but the action's time.

        :raises ActionNotFound: the server has no action of that request.
        """
        await event_rows.write(self._session, (instance_uuid, finish.request_id or request_id), finished=[finish])

    async def _one(self, instance_uuid: str, request_id: str) -> engines.Row | None:
        return await self._session.row(_ONE, {"instance_uuid": instance_uuid, "request_id": request_id})
