# SPDX-License-Identifier: Apache-2.0
"""Conductors and their leases. Judged by the database's clock where machines share one, by `Clock` on SQLite.

Takes nothing over: `operations.claim` reads the leases.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import functools

import sqlalchemy as sa

from wherry.db import engine as engines
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


@functools.cache
def _renewing(dialect: engines.Dialect) -> sa.Update:
    live = sa.update(_T).where(_T.c.id == sa.bindparam("of_id"), _T.c.expires_at > dialect.lease_time("lease_now"))
    return live.values(renewed_at=dialect.lease_time("lease_now"), expires_at=dialect.lease_time("lease_end"))


@functools.cache
def _forgetting(dialect: engines.Dialect) -> sa.Delete:
    return sa.delete(_T).where(_T.c.expires_at < dialect.lease_time("lease_limit"))


class Conductors:
    """Records of conductors."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def renew(self, conductor_id: str, name: str, lease_seconds: float) -> bool:
        """Make the lease last so many seconds from now. False: there was none, or it had run out, and others may have taken over."""
        dialect, now = self._session.dialect, self._session.now
        times = {"lease_now": dialect.lease_moment(now), "lease_end": dialect.lease_moment(now, datetime.timedelta(seconds=lease_seconds))}
        if await self._session.change(_renewing(dialect), {"of_id": conductor_id, "name": name} | times) == 1:
            return True
        values = {
            "id": conductor_id,
            "name": name,
            "started_at": now,
            "renewed_at": dialect.lease_time("lease_now"),
            "expires_at": dialect.lease_time("lease_end"),
        }
        await self._session.change(dialect.upsert(_T, ["id"], values, ["name", "renewed_at", "expires_at"]), times)
        return False

    async def remove(self, conductor_id: str) -> None:
        """Give the lease up; what it drove may be claimed at once."""
        await self._session.change(sa.delete(_T).where(_T.c.id == conductor_id))

    async def remove_expired(self, older_than_seconds: float) -> int:
        """Forget conductors whose lease ran out so long ago, and give their number."""
        dialect = self._session.dialect
        limit = dialect.lease_moment(self._session.now, datetime.timedelta(seconds=-older_than_seconds))
        return await self._session.change(_forgetting(dialect), {"lease_limit": limit})

    async def list(self) -> builtins.list[Conductor]:
        """Give every conductor that has or had a lease."""
        dialect = self._session.dialect
        is_live = (_T.c.expires_at > dialect.lease_time("lease_now")).label("is_live")
        statement = sa.select(*_T.c, is_live).order_by(_T.c.started_at, _T.c.id)
        rows = await self._session.rows(statement, {"lease_now": dialect.lease_moment(self._session.now)})
        return [sessions.record_of(Conductor, row) for row in rows]
