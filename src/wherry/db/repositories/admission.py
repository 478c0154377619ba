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
from wherry.model import operation, states

_M = schema.migrations
_S = schema.servers
_H = schema.hosts
_L = schema.locks
_I = schema.intents
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
    #: Whether an abort was asked for of the one that was left out, and nobody has answered it.
    is_abort_asked: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Slots that a migration gives back."""

    operation_id: str
    source: str
    destination: str


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
    sa.exists()
    .where(_I.c.operation_id == sa.bindparam("excluded"), _I.c.acknowledged_at.is_(None), _I.c.kind == operation.IntentKind.ABORT)
    .label("is_abort_asked"),
).where(_M.c.finished_at.is_(None), _M.c.status.in_(_HOLDING), _M.c.uuid != sa.bindparam("excluded"))

#: So many at most are told of a slot: those told of an earlier one and that have not taken it yet come first, and some may be gone.
MOST_NEXT = 4
_HELD = _M.alias("held")
_IS_HELD = sa.and_(_HELD.c.finished_at.is_(None), _HELD.c.status.in_(_HOLDING), _HELD.c.uuid != sa.bindparam("giving"))


def _held_where(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(_HELD).where(_IS_HELD, *conditions).scalar_subquery()


def _is_below(held: sa.ScalarSelect[int], limit: str) -> sa.ColumnElement[bool]:
    return sa.or_(sa.bindparam(limit, type_=sa.Integer) == 0, held < sa.bindparam(limit, type_=sa.Integer))


_NOW_OUT = _held_where(_HELD.c.source_compute == _M.c.source_compute)
_NOW_IN = _held_where(_HELD.c.dest_compute == _M.c.dest_compute)
_NOW = _held_where()
_WAITS = (
    sa.select(
        _M.c.uuid,
        _M.c.id,
        _M.c.created_at,
        _M.c.source_compute,
        _M.c.dest_compute,
        _NOW_OUT.label("outgoing"),
        _NOW_IN.label("incoming"),
        _NOW.label("cluster"),
    )
    .where(_M.c.finished_at.is_(None), _M.c.status == states.Status.QUEUED)
    .where(_is_below(_NOW_OUT, "out"), _is_below(_NOW_IN, "into"), _is_below(_NOW, "all"))
    .order_by(_M.c.created_at, _M.c.id)
    .limit(MOST_NEXT)
)
_TO_LEAVE = sa.select(_WAITS.where(_M.c.source_compute == sa.bindparam("source")).subquery())
_TO_ENTER = sa.select(_WAITS.where(_M.c.dest_compute == sa.bindparam("destination")).subquery())
_NEXT_AT_THESE = sa.union(_TO_LEAVE, _TO_ENTER).order_by("created_at", "id")


_QUEUED = (
    sa.select(_M.c.uuid, _M.c.id, _M.c.instance_uuid, _M.c.source_compute, _M.c.dest_compute, _M.c.created_at)
    .where(_M.c.finished_at.is_(None), _M.c.status == states.Status.QUEUED)
    .order_by(_M.c.created_at, _M.c.id)
)
_TAKEN = (
    sa.select(_M.c.source_compute, _M.c.dest_compute, sa.func.count().label("migrations"))
    .where(_M.c.finished_at.is_(None), _M.c.status.in_(_HOLDING))
    .group_by(_M.c.source_compute, _M.c.dest_compute)
)


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
            await self._session.rows(_LOCK_CLUSTER, {})
        await self._session.rows(_LOCK_HOSTS, {"names": [source, destination]})
        return await self.count(source, destination, exclude_operation)

    async def count(self, source: str, destination: str, exclude_operation: str | None = None) -> SlotCounts:
        """Count without a lock: to show, never to decide by."""
        parameters = {"source": source, "destination": destination, "excluded": exclude_operation or ""}
        row = (await self._session.connection.execute(_COUNT, parameters)).one()
        counts = {"outgoing": int(row.outgoing), "incoming": int(row.incoming), "cluster": int(row.cluster)}
        return SlotCounts(**counts, is_abort_asked=bool(row.is_abort_asked))

    async def next_for(self, given: Given, limits: SlotLimits, *, is_early: bool = False) -> list[str]:
        """Give ids of those that may start with the slots that one migration gives back, first come first. One query.

        Reads none of the queue but those who wait for these slots. Counts the one that gives them back as if it had, so that this can be
        asked before it does.

        :param is_early: ask who may be next one day: what others hold now is left out.
        """
        # With a limit for all hosts together, anybody may have waited for it.
        counted = SlotLimits() if is_early else limits
        parameters = {"giving": given.operation_id, "out": counted.outgoing, "into": counted.incoming, "all": counted.cluster}
        if not limits.cluster:
            parameters |= {"source": given.source, "destination": given.destination}
        rows = await self._session.rows(_WAITS if limits.cluster else _NEXT_AT_THESE, parameters)
        taken: dict[str, int] = {}
        following = []
        for row in rows:
            wanted = (
                (f"outgoing:{row.source_compute}", row.outgoing, limits.outgoing),
                (f"incoming:{row.dest_compute}", row.incoming, limits.incoming),
                ("cluster", row.cluster, limits.cluster),
            )
            if all(not limit or (0 if is_early else held) + taken.get(name, 0) < limit for name, held, limit in wanted):
                following.append(row.uuid)
                for name, *_ in wanted:
                    taken[name] = taken.get(name, 0) + 1
        return following

    async def queue(self, limits: SlotLimits = SlotLimits()) -> list[Waiting]:
        """Give the migrations that wait for slots, first come first, each with what it waits for. Two queries.

        Slots are handed out on paper in that order: who waits for nothing may start now, together with the others that wait for nothing.
        """
        taken = await self._taken()
        waiting = []
        for position, row in enumerate(await self._session.rows(_QUEUED, {}), start=1):
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
        taken: dict[str, int] = {}
        for row in await self._session.rows(_TAKEN, {}):
            for name in (f"outgoing:{row.source_compute}", f"incoming:{row.dest_compute or ''}", "cluster"):
                taken[name] = taken.get(name, 0) + int(row.migrations)
        return taken
