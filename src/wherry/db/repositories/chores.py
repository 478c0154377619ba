# SPDX-License-Identifier: Apache-2.0
"""Chores: commands that end a migration on a host, and that it has not been given yet. Sends nothing; the conductor does."""

from __future__ import annotations

import builtins
import dataclasses
import datetime

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions

_T = schema.chores


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Chore:
    """One command that one host is owed."""

    id: int
    operation_id: str
    host: str
    #: Name of the message.
    command: str
    #: The message.
    body: dict[str, object]
    owed_since: datetime.datetime


_COLUMNS = sessions.columns_of(_T, Chore)


_ALL = sa.select(*_COLUMNS).order_by(_T.c.id)
_OF_HOST = _ALL.where(_T.c.host == sa.bindparam("host"))
_OF_OPERATION = _OF_HOST.where(_T.c.operation_id == sa.bindparam("operation_id"))
_SAME = sa.select(_T.c.id, _T.c.body).where(
    _T.c.operation_id == sa.bindparam("operation_id"), _T.c.host == sa.bindparam("host"), _T.c.command == sa.bindparam("command")
)


def _epoch_of(body: dict[str, object]) -> int:
    epoch = body.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


class Chores:
    """Records of chores."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def add(self, operation_id: str, host: str, command: str, body: dict[str, object]) -> bool:
        """Record what a host is owed. False: it is owed already, and nothing changed.

        A later owner's command takes the place of an earlier one's, which a host that has obeyed the later owner since would refuse. It is
        another chore, for the earlier one may be being paid.
        """
        values = {"operation_id": operation_id, "host": host, "command": command, "body": body, "owed_since": self._session.now}
        insert = self._session.dialect.insert_ignoring(_T).values(**values)
        if await self._session.change(insert) == 1:
            return True
        owed = await self._session.row(_SAME, {"operation_id": operation_id, "host": host, "command": command})
        if owed is not None:
            if _epoch_of(owed.body) >= _epoch_of(body):
                return False
            await self.remove(owed.id)
        return await self._session.change(insert) == 1

    async def list(self, host: str | None = None, operation_id: str | None = None) -> builtins.list[Chore]:
        """Give what this host is owed, or all hosts, oldest first.

        :param operation_id: only what the host is owed for this one.
        """
        if host is None:
            rows = await self._session.rows(_ALL, {})
        elif operation_id is None:
            rows = await self._session.rows(_OF_HOST, {"host": host})
        else:
            rows = await self._session.rows(_OF_OPERATION, {"host": host, "operation_id": operation_id})
        return sessions.records_of(Chore, rows)

    async def remove(self, chore_id: int) -> None:
        """Forget what was paid."""
        await self._session.change(sa.delete(_T).where(_T.c.id == chore_id))
