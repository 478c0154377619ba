# SPDX-License-Identifier: Apache-2.0
"""What servers and migrations take of hosts: always counted from their rows, never kept, so that nothing can leak."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

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
    """Count for each host, in one statement; one that nothing takes anything of is left out, others than those named may be there.

    Memory, vCPUs and disk include migrations on their way to the host, from the moment a row names it to its end, or to its cleaning.
    """
    if not names:
        return {}
    taken: dict[str, model.Usage] = {}
    rows = await (session.rows(_OF_NAMED, {"names": list(names)}) if len(names) <= _NAMED else session.rows(_OF_ALL, {}))
    for row in rows:
        if row.source_compute:
            _add(taken, row.source_compute, outgoing_migrations=int(row.migrations))
        if row.host:
            _add(
                taken,
                row.host,
                servers=int(row.servers),
                incoming_migrations=int(row.migrations),
                memory_mib=int(row.memory_mib),
                vcpus=int(row.vcpus),
                disk_gib=int(row.root_gib),
            )
    return taken


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
_NOBODY = sa.literal("", sa.String)
_NONE = sa.literal(0, sa.Integer)


def _counting(names: sa.BindParameter[Any] | None) -> sa.CompoundSelect[Any]:
    """Build the count: a row for each host with servers, pair of hosts with migrations between them, and host with cold claims."""

    def is_meant(*columns: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        return sa.true() if names is None else sa.or_(*(column.in_(names) for column in columns))

    servers = (
        sa.select(
            _S.c.host.label("host"),
            _NOBODY.label("source_compute"),
            sa.func.count().label("servers"),
            _NONE.label("migrations"),
            *(sa.func.sum(_S.c[part]).label(part) for part in schema.SIZE_PARTS),
        )
        .where(_S.c.host.is_not(None), _S.c.deleted_at.is_(None), is_meant(_S.c.host))
        .group_by(_S.c.host)
    )
    claims = (
        sa.select(
            sa.func.coalesce(CLAIMS.c.dest_compute, ""),
            CLAIMS.c.source_compute,
            _NONE,
            sa.func.sum(CLAIMS.c.is_open),
            *(_sum_away(_S.c[part]) for part in schema.SIZE_PARTS),
        )
        .select_from(CLAIMS.join(_S, _S.c.uuid == CLAIMS.c.instance_uuid))
        .where(is_meant(CLAIMS.c.source_compute, CLAIMS.c.dest_compute))
        .group_by(CLAIMS.c.dest_compute, CLAIMS.c.source_compute)
    )
    cold = (
        sa.select(
            _COLD_CLAIMS.c.host,
            _NOBODY,
            _NONE,
            _NONE,
            *(sa.func.coalesce(sa.func.sum(_COLD_CLAIMS.c[part]), 0) for part in schema.SIZE_PARTS),
        )
        .where(is_meant(_COLD_CLAIMS.c.host))
        .group_by(_COLD_CLAIMS.c.host)
    )
    return sa.union_all(servers, claims, cold)


_OF_ALL = _counting(None)
_OF_NAMED = _counting(sa.bindparam("names", expanding=True))


def _add(taken: dict[str, model.Usage], host: str, **amounts: int) -> None:
    had = taken.get(host, model.Usage())
    taken[host] = dataclasses.replace(had, **{name: getattr(had, name) + amount for name, amount in amounts.items()})
