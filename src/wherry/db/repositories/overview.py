# SPDX-License-Identifier: Apache-2.0
"""What is going on in the whole fleet, for an operator who looks. Reads only; no decision is made by what stands here."""

from __future__ import annotations

import dataclasses
import datetime

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import migration, operation, states

_O = schema.operations
_M = schema.migrations
_S = schema.servers
_I = schema.intents


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OpenOperation:
    """One operation that has not ended, with its server and, where it moves one, its migration."""

    id: str
    kind: operation.OperationKind
    step: operation.StepName
    #: Id of the conductor that drives it; None = nobody yet.
    owner: str | None
    created_at: datetime.datetime
    #: When it was last taken on or moved on.
    updated_at: datetime.datetime | None
    instance_uuid: str
    server_name: str
    migration_id: int | None
    status: states.Status | None
    source: str | None
    destination: str | None
    reason: migration.Reason | None

    @property
    def newer(self) -> str:
        """What of it only a newer release knows, which alone goes on with it; nothing where all is known."""
        if self.kind not in list(operation.OperationKind):
            return f"its kind {self.kind.value}"
        if self.step not in list(operation.StepName):
            return f"its step {self.step.value}"
        if self.status is not None and self.status not in list(states.Status):
            return f"its status {self.status.value}"
        return ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PendingIntent:
    """Something that was asked of an operation and that nobody has taken up."""

    operation_id: str
    kind: operation.IntentKind
    requested_at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """A server with which something is wrong that only a person can put right."""

    uuid: str
    name: str
    host: str | None
    #: Slug.
    reason: str


class Overview:
    """The fleet at one moment."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def open_operations(self) -> list[OpenOperation]:
        """Give every operation that has not ended, the oldest first. One query."""
        statement = (
            sa.select(
                _O.c.id,
                _O.c.kind,
                _O.c.step,
                _O.c.owner,
                _O.c.created_at,
                _O.c.updated_at,
                _O.c.instance_uuid,
                _S.c.name.label("server_name"),
                _M.c.id.label("migration_id"),
                _M.c.status,
                _M.c.source_compute.label("source"),
                _M.c.dest_compute.label("destination"),
                _M.c.reason,
            )
            .select_from(_O.join(_S, _S.c.uuid == _O.c.instance_uuid).outerjoin(_M, _M.c.uuid == _O.c.id))
            .where(_O.c.finished_at.is_(None))
            .order_by(_O.c.created_at, _O.c.id)
        )
        return [sessions.record_of(OpenOperation, row) for row in await self._session.rows(statement)]

    async def pending_intents(self) -> list[PendingIntent]:
        """Give what was asked and not taken up, the oldest first."""
        statement = sa.select(_I.c.operation_id, _I.c.kind, _I.c.requested_at).where(_I.c.acknowledged_at.is_(None)).order_by(_I.c.id)
        return [sessions.record_of(PendingIntent, row) for row in await self._session.rows(statement)]

    async def conflicts(self) -> list[Conflict]:
        """Give the servers with which something is wrong."""
        statement = (
            sa.select(_S.c.uuid, _S.c.name, _S.c.host, _S.c.reason)
            .where(_S.c.reason.is_not(None), _S.c.deleted_at.is_(None))
            .order_by(_S.c.name, _S.c.uuid)
        )
        return [sessions.record_of(Conflict, row) for row in await self._session.rows(statement)]
