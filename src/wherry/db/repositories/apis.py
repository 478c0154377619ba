# SPDX-License-Identifier: Apache-2.0
"""The apis that run. Nothing is decided by it: it is there to be looked at."""

from __future__ import annotations

import builtins
import dataclasses
import datetime

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions

_T = schema.apis


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """One process that answers requests."""

    #: Made anew at each start.
    id: str
    #: The machine's name.
    name: str
    #: Where it listens, as it is configured there.
    address: str
    started_at: datetime.datetime
    heard_at: datetime.datetime


class Apis:
    """Records of apis."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def hear(self, api_id: str, name: str, address: str) -> None:
        """Note that it runs."""
        now = self._session.now
        values = {"id": api_id, "name": name, "address": address, "started_at": now, "heard_at": now}
        await self._session.change(self._session.dialect.upsert(_T, ["id"], values, ["name", "address", "heard_at"]))

    async def remove(self, api_id: str) -> None:
        """Forget it: it has ended in order."""
        await self._session.change(sa.delete(_T).where(_T.c.id == api_id))

    async def remove_silent(self, name: str, address: str, older_than_seconds: float) -> int:
        """Forget those that were at this place before, and have not been heard of for so long; give their number."""
        limit = self._session.now - datetime.timedelta(seconds=older_than_seconds)
        return await self._session.change(sa.delete(_T).where(_T.c.name == name, _T.c.address == address, _T.c.heard_at < limit))

    async def forget_silent(self, older_than_seconds: float) -> int:
        """Forget those that have not been heard of for so long, wherever they were; give their number."""
        limit = self._session.now - datetime.timedelta(seconds=older_than_seconds)
        return await self._session.change(sa.delete(_T).where(_T.c.heard_at < limit))

    async def list(self) -> builtins.list[Api]:
        """Give all that have not ended in order, the ones at the same place together."""
        rows = await self._session.rows(sa.select(*_T.c).order_by(_T.c.name, _T.c.address, _T.c.started_at, _T.c.id))
        return [sessions.record_of(Api, row) for row in rows]
