# SPDX-License-Identifier: Apache-2.0
"""Conductors and their leases. Judged by the database's clock where machines share one, by `Clock` on SQLite.

Takes nothing over: `operations.claim` reads the leases.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions

_T = schema.conductors


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Conductor:
    """One process that drives operations."""

    #: Made anew at each start.
    id: str
    #: The machine's name.
    name: str
    started_at: datetime.datetime
    renewed_at: datetime.datetime
    expires_at: datetime.datetime
    #: Whether its lease holds, by the clock that leases are judged by.
    is_live: bool


class Conductors:
    """Records of conductors."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def renew(self, conductor_id: str, name: str, lease_seconds: float) -> bool:
        """Make the lease last so many seconds from now. False: there was none, or it had run out, and others may have taken over."""
        dialect, now = self._session.dialect, self._session.now
        live = (
            sa.select(_T.c.id).where(_T.c.id == conductor_id, _T.c.expires_at > dialect.database_now(now)).with_for_update(key_share=True)
        )
        was_live = await self._session.row(live) is not None
        values = {
            "id": conductor_id,
            "name": name,
            "started_at": now,
            "renewed_at": dialect.database_now(now),
            "expires_at": dialect.database_now(now, datetime.timedelta(seconds=lease_seconds)),
        }
        await self._session.change(dialect.upsert(_T, ["id"], values, ["name", "renewed_at", "expires_at"]))
        return was_live

    async def remove(self, conductor_id: str) -> None:
        """Give the lease up; what it drove may be claimed at once."""
        await self._session.change(sa.delete(_T).where(_T.c.id == conductor_id))

    async def remove_expired(self, older_than_seconds: float) -> int:
        """Forget conductors whose lease ran out so long ago, and give their number."""
        limit = self._session.dialect.database_now(self._session.now, datetime.timedelta(seconds=-older_than_seconds))
        return await self._session.change(sa.delete(_T).where(_T.c.expires_at < limit))

    async def list(self) -> builtins.list[Conductor]:
        """Give every conductor that has or had a lease."""
        is_live = (_T.c.expires_at > self._session.dialect.database_now(self._session.now)).label("is_live")
        rows = await self._session.rows(sa.select(*_T.c, is_live).order_by(_T.c.started_at, _T.c.id))
        return [sessions.record_of(Conductor, row) for row in rows]
