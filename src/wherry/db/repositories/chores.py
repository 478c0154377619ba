# SPDX-License-Identifier: Apache-2.0
"""Cleaning that is owed to hosts: commands that could not be given. Who gives them, and when, is the conductor's business."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions

_T = schema.chores


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Chore:
    """One command that is owed."""

    id: int
    operation_id: str
    host: str
    #: Name of the message.
    command: str
    #: Its fields.
    body: dict[str, Any]
    owed_since: datetime.datetime


class Chores:
    """Records of what is owed."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def add(self, operation_id: str, host: str, command: str, body: dict[str, Any]) -> bool:
        """Owe a host a command. False: it is owed already."""
        values = {"operation_id": operation_id, "host": host, "command": command, "body": body, "owed_since": self._session.now}
        return await self._session.change(self._session.dialect.insert_ignoring(_T).values(**values)) == 1

    async def list(self, host: str | None = None) -> builtins.list[Chore]:
        """Give what is owed to a host, or to all, oldest first."""
        statement = sa.select(*sessions.columns_of(_T, Chore)).order_by(_T.c.id)
        if host is not None:
            statement = statement.where(_T.c.host == host)
        return [sessions.record_of(Chore, row) for row in await self._session.rows(statement)]

    async def remove(self, chore_id: int) -> None:
        """Forget a chore: it was done."""
        await self._session.change(sa.delete(_T).where(_T.c.id == chore_id))
