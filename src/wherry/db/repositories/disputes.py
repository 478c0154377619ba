# SPDX-License-Identifier: Apache-2.0
"""Disputes: guests that a host says to have, recorded elsewhere, and that nothing but its own word speaks for. Decides nothing."""

from __future__ import annotations

import builtins
import dataclasses
import datetime

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import guest

_T = schema.disputes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dispute:
    """One host's word against a server's record."""

    id: int
    instance_uuid: str
    #: Host that says so.
    host: str
    #: Host of the record, and what that one said of the guest when it was asked.
    recorded_host: str
    recorded_state: guest.GuestState
    since: datetime.datetime


_COLUMNS = sessions.columns_of(_T, Dispute)
_IN_ORDER = sa.select(*_COLUMNS).order_by(_T.c.id)
_OF_HOST = _IN_ORDER.where(_T.c.host == sa.bindparam("of_host"))


class Disputes:
    """Records of disputes."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def note(self, instance_uuid: str, host: str, *, recorded_host: str, recorded_state: guest.GuestState) -> bool:
        """Record what a host says, and what the record's host says to it now. False: that it says so is known already."""
        answer = {"recorded_host": recorded_host, "recorded_state": recorded_state}
        values = {"instance_uuid": instance_uuid, "host": host, "since": self._session.now, **answer}
        if await self._session.change(self._session.dialect.insert_ignoring(_T).values(**values)) == 1:
            return True
        await self._session.change(sa.update(_T).where(_T.c.instance_uuid == instance_uuid, _T.c.host == host).values(**answer))
        return False

    async def list(self, host: str | None = None) -> builtins.list[Dispute]:
        """Give what this host claims, or all hosts, oldest first."""
        rows = await (self._session.rows(_IN_ORDER) if host is None else self._session.rows(_OF_HOST, {"of_host": host}))
        return [sessions.record_of(Dispute, row) for row in rows]

    async def are_about(self, instance_uuid: str) -> bool:
        """Whether any host claims this server."""
        return await self._session.row(sa.select(_T.c.id).where(_T.c.instance_uuid == instance_uuid).limit(1)) is not None

    async def remove(self, dispute_id: int) -> None:
        """Forget one that is not made any more, or that has come true."""
        await self._session.change(sa.delete(_T).where(_T.c.id == dispute_id))
