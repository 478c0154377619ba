# SPDX-License-Identifier: Apache-2.0
"""What servers and migrations take of hosts: always counted from their rows, never kept, so that nothing can leak."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import host as model
from wherry.model import states

_S = schema.servers
_M = schema.migrations
_C = schema.chores
#: Up to this many names stand in the query; more, and all hosts are counted, which is as quick.
_NAMED = 50


async def of_hosts(session: sessions.Session, names: Sequence[str]) -> dict[str, model.Usage]:
    """Count for each host; one that nothing takes anything of is left out.

    Memory, vCPUs and disk include migrations on their way to the host, from the moment a row names it to its end, or to its cleaning.
    """
    if not names:
        return {}
    taken: dict[str, model.Usage] = {}
    servers = (
        sa.select(_S.c.host, sa.func.count().label("servers"), *_sums())
        .where(_S.c.host.in_(names) if len(names) <= _NAMED else _S.c.host.is_not(None), _S.c.deleted_at.is_(None))
        .group_by(_S.c.host)
    )
    for row in await session.rows(servers):
        taken[row.host] = model.Usage(
            servers=int(row.servers), memory_mib=int(row.memory_mib), vcpus=int(row.vcpus), disk_gib=int(row.disk_gib)
        )
    for row in await session.rows(_CLAIMED):
        _add(taken, row.source_compute, outgoing_migrations=int(row.migrations))
        if row.dest_compute is not None:
            _add(taken, row.dest_compute, incoming_migrations=int(row.migrations), **_amounts(row))
    for row in await session.rows(_CLAIMED_BY_COLD):
        _add(taken, row.host, **_amounts(row))
    return taken


def _sums() -> list[sa.ColumnElement[int]]:
    return [
        sa.func.sum(_S.c.memory_mib).label("memory_mib"),
        sa.func.sum(_S.c.vcpus).label("vcpus"),
        sa.func.sum(_S.c.root_gib).label("disk_gib"),
    ]


_IS_COLD = _M.c.new_memory_mib.is_not(None)
# An ended migration goes on claiming its destination while that host is owed the cleaning: what is left there takes memory.
_OWED = sa.exists().where(_C.c.operation_id == _M.c.uuid, _C.c.host == _M.c.dest_compute)
_CLAIM_COLUMNS = (_M.c.uuid, _M.c.instance_uuid, _M.c.source_compute, _M.c.dest_compute)
#: Migrations that take something of a host: the open ones, and the ended ones that left something behind.
CLAIMS = sa.union_all(
    sa.select(*_CLAIM_COLUMNS, sa.literal(1).label("is_open")).where(_M.c.finished_at.is_(None), ~_IS_COLD),
    sa.select(*_CLAIM_COLUMNS, sa.literal(0).label("is_open")).where(
        _M.c.uuid.in_(sa.select(_C.c.operation_id)), _M.c.finished_at.is_not(None), _OWED, ~_IS_COLD
    ),
).subquery("claims")
# A server that is at its destination already is counted there as a server.
_is_away = sa.or_(_S.c.host.is_(None), CLAIMS.c.dest_compute.is_(None), _S.c.host != CLAIMS.c.dest_compute)


def _sum_away(column: sa.Column[int]) -> sa.Label[int]:
    return sa.func.sum(sa.case((_is_away, column), else_=0)).label(column.name)


_CLAIMED = (
    sa.select(
        CLAIMS.c.source_compute,
        CLAIMS.c.dest_compute,
        sa.func.sum(CLAIMS.c.is_open).label("migrations"),
        _sum_away(_S.c.memory_mib),
        _sum_away(_S.c.vcpus),
        _sum_away(_S.c.root_gib),
    )
    .select_from(CLAIMS.join(_S, _S.c.uuid == CLAIMS.c.instance_uuid))
    .group_by(CLAIMS.c.source_compute, CLAIMS.c.dest_compute)
)


def _cold_claims(which: str, host: sa.Column[str], statuses: frozenset[states.Status]) -> sa.Select[tuple[object, ...]]:
    """Build what open cold migrations and resizes in these statuses claim of one of their two hosts, and ended ones that it is owed of."""
    parts = (_M.c[f"{which}_{part}"].label(part) for part in schema.SIZE_PARTS)
    is_owed = sa.exists().where(_C.c.operation_id == _M.c.uuid, _C.c.host == host)
    is_open = sa.and_(_M.c.finished_at.is_(None), _M.c.status.in_(sorted(statuses)))
    is_ended = sa.and_(_M.c.uuid.in_(sa.select(_C.c.operation_id)), _M.c.finished_at.is_not(None), is_owed)
    return sa.select(host.label("host"), *parts).where(_IS_COLD, host.is_not(None), sa.or_(is_open, is_ended))


# Both hosts count until somebody confirms or reverts: where the guest is as a server, on the other what it would take there.
_COLD_CLAIMS = sa.union_all(
    _cold_claims("new", _M.c.dest_compute, states.CLAIMING_DESTINATION), _cold_claims("old", _M.c.source_compute, states.CLAIMING_SOURCE)
).subquery("cold_claims")
_CLAIMED_BY_COLD = sa.select(
    _COLD_CLAIMS.c.host,
    *(sa.func.coalesce(sa.func.sum(_COLD_CLAIMS.c[part]), 0).label(part) for part in schema.SIZE_PARTS),
).group_by(_COLD_CLAIMS.c.host)


def _amounts(row: sa.Row[tuple[object, ...]]) -> dict[str, int]:
    return {"memory_mib": int(row.memory_mib), "vcpus": int(row.vcpus), "disk_gib": int(row.root_gib)}


def _add(taken: dict[str, model.Usage], host: str, **amounts: int) -> None:
    had = taken.get(host, model.Usage())
    taken[host] = dataclasses.replace(had, **{name: getattr(had, name) + amount for name, amount in amounts.items()})
