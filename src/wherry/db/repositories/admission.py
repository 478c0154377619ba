# SPDX-License-Identifier: Apache-2.0
"""Slots and claims: who holds one, who waits for one. Counted from the migrations' rows under a lock, never kept.

Grants nothing: the conductor compares with its limits and advances in the same unit of work.
"""

from __future__ import annotations

import dataclasses
import datetime

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import states

_M = schema.migrations
_S = schema.servers
_H = schema.hosts
_L = schema.locks
_HOLDING = sorted(states.HOLDING_SLOTS)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SlotCounts:
    """Slots that are held now."""

    #: Migrations that leave the source.
    outgoing: int
    #: Migrations that come into the destination.
    incoming: int
    #: Migrations anywhere.
    cluster: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SlotLimits:
    """Slots that there are; 0 = no limit."""

    outgoing: int = 0
    incoming: int = 0
    cluster: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """One migration in the queue."""

    operation_id: str
    migration_id: int
    instance_uuid: str
    source: str
    destination: str
    queued_since: datetime.datetime
    #: Place in the queue, from 1.
    position: int
    #: "outgoing:HOST", "incoming:HOST", "cluster": limits that are used up, by those before it in the queue too. Empty: it may start.
    waits_for: tuple[str, ...]


def _count_if(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


_LOCK_CLUSTER = sa.select(_L.c.name).where(_L.c.name == schema.CLUSTER_LOCK).with_for_update(key_share=True)
_LOCK_HOSTS = (
    sa.select(_H.c.name).where(_H.c.name.in_(sa.bindparam("names", expanding=True))).order_by(_H.c.name).with_for_update(key_share=True)
)
_COUNT = sa.select(
    _count_if(_M.c.source_compute == sa.bindparam("source")).label("outgoing"),
    _count_if(_M.c.dest_compute == sa.bindparam("destination")).label("incoming"),
    sa.func.count().label("cluster"),
).where(_M.c.finished_at.is_(None), _M.c.status.in_(_HOLDING), _M.c.uuid != sa.bindparam("excluded"))


class Slots:
    """Counts of slots and claims."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def lock_and_count(
        self, source: str, destination: str, exclude_operation: str | None = None, *, with_cluster: bool = True
    ) -> SlotCounts:
        """Count the slots that are held, and keep others from taking one until this transaction ends.

        Locks the cluster first, then the hosts by name, so that no two admissions wait for each other.

        :param with_cluster: whether there is a limit for all hosts together; without one, admissions of other hosts need not wait.
        """
        if with_cluster:
            await self._session.rows(_LOCK_CLUSTER)
        await self._session.rows(_LOCK_HOSTS, {"names": [source, destination]})
        return await self.count(source, destination, exclude_operation)

    async def count(self, source: str, destination: str, exclude_operation: str | None = None) -> SlotCounts:
        """Count without a lock: to show, never to decide by."""
        parameters = {"source": source, "destination": destination, "excluded": exclude_operation or ""}
        row = (await self._session.connection.execute(_COUNT, parameters)).one()
        return SlotCounts(outgoing=int(row.outgoing), incoming=int(row.incoming), cluster=int(row.cluster))

    async def queue(self, limits: SlotLimits = SlotLimits()) -> list[Waiting]:
        """Give the migrations that wait for slots, first come first, each with what it waits for. Two queries.

        Slots are handed out on paper in that order: who waits for nothing may start now, together with the others that wait for nothing.
        """
        taken = await self._taken()
        statement = (
            sa.select(_M.c.uuid, _M.c.id, _M.c.instance_uuid, _M.c.source_compute, _M.c.dest_compute, _M.c.created_at)
            .where(_M.c.finished_at.is_(None), _M.c.status == states.Status.QUEUED)
            .order_by(_M.c.created_at, _M.c.id)
        )
        waiting = []
        for position, row in enumerate(await self._session.rows(statement), start=1):
            source, destination = row.source_compute, row.dest_compute or ""
            wanted = {f"outgoing:{source}": limits.outgoing, f"incoming:{destination}": limits.incoming, "cluster": limits.cluster}
            lacking = tuple(name for name, limit in wanted.items() if limit and taken.get(name, 0) >= limit)
            if not lacking:
                for name in wanted:
                    taken[name] = taken.get(name, 0) + 1
            waiting.append(
                Waiting(
                    operation_id=row.uuid,
                    migration_id=row.id,
                    instance_uuid=row.instance_uuid,
                    source=source,
                    destination=destination,
                    queued_since=row.created_at,
                    position=position,
                    waits_for=lacking,
                )
            )
        return waiting

    async def _taken(self) -> dict[str, int]:
        statement = (
            sa.select(_M.c.source_compute, _M.c.dest_compute, sa.func.count().label("migrations"))
            .where(_M.c.finished_at.is_(None), _M.c.status.in_(_HOLDING))
            .group_by(_M.c.source_compute, _M.c.dest_compute)
        )
        taken: dict[str, int] = {}
        for row in await self._session.rows(statement):
            for name in (f"outgoing:{row.source_compute}", f"incoming:{row.dest_compute or ''}", "cluster"):
                taken[name] = taken.get(name, 0) + int(row.migrations)
        return taken
