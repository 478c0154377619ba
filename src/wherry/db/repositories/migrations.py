# SPDX-License-Identifier: Apache-2.0
"""Migrations as the API shows them, and their counters. Never moves a status: that is `operations.advance`."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import engine as engines
from wherry.db import paging, schema
from wherry.db import session as sessions
from wherry.model import migration as model
from wherry.model import operation, server, states
from wherry.model import progress as progress_model

_T = schema.migrations
_S = schema.servers
COLUMNS = sessions.columns_of(_T, model.Migration)
_BY_UUID = sa.select(*COLUMNS).where(_T.c.uuid == sa.bindparam("uuid"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MigrationQuery:
    """Which migrations a list shows; None = any."""

    #: Source or destination.
    host: str | None = None
    source_compute: str | None = None
    dest_compute: str | None = None
    instance_uuid: str | None = None
    statuses: Sequence[states.Status] | None = None
    migration_type: model.MigrationType | None = None
    user_id: str | None = None
    project_id: str | None = None
    changes_since: datetime.datetime | None = None
    changes_before: datetime.datetime | None = None
    #: created_at and id, newest first; False: by id, oldest first.
    is_newest_first: bool = True
    limit: int | None = None
    #: uuid of the last migration of the page before.
    marker: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Counters of one migration, and the host that sent them."""

    uuid: str
    host: str
    counters: progress_model.Progress


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Unconfirmed:
    """A cold migration or resize that waits to be confirmed or reverted."""

    id: int
    uuid: str
    server_name: str
    #: RESIZED, unless it was reset since.
    vm_state: server.VmState
    source_compute: str
    dest_compute: str | None
    #: When its last operation ended: the move, or one that would have settled it and was given up.
    rested_at: datetime.datetime
    #: Confirmations that were given up.
    refusals: int


#: Operations on a server whose last move waits, and the move.
_SETTLING = (
    operation.OperationKind.COLD_MIGRATION,
    operation.OperationKind.CONFIRM_RESIZE,
    operation.OperationKind.REVERT_RESIZE,
    operation.OperationKind.DELETE,
)


@functools.cache
def _unconfirmed() -> sa.Select[Any]:
    moved = schema.operations
    is_own = sa.and_(moved.c.instance_uuid == _T.c.instance_uuid, moved.c.created_at >= _T.c.created_at, moved.c.kind.in_(_SETTLING))
    is_confirmation = sa.case((moved.c.kind == operation.OperationKind.CONFIRM_RESIZE, 1), else_=0)
    own = (_T.c.id, _T.c.uuid, _S.c.name.label("server_name"), _S.c.vm_state, _T.c.source_compute, _T.c.dest_compute)
    return (
        sa.select(*own, sa.func.max(moved.c.finished_at).label("rested_at"), sa.func.sum(is_confirmation).label("refusals"))
        .join(_S, _S.c.uuid == _T.c.instance_uuid)
        .join(moved, is_own)
        .where(_T.c.finished_at.is_(None), _T.c.status == states.Status.FINISHED)
        .group_by(*(column.element if isinstance(column, sa.Label) else column for column in own))
        .order_by(_T.c.id)
    )


class Migrations:
    """Records of migrations."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, instance_uuid: str, migration_id: int) -> model.Migration:
        """Give a server's migration by its integer id.

        :raises MigrationNotFound: that server has no such migration.
        """
        row = await self._session.row(sa.select(*COLUMNS).where(_T.c.id == migration_id, _T.c.instance_uuid == instance_uuid))
        if row is None:
            raise errors.MigrationNotFound(migration_id=migration_id, uuid=instance_uuid)
        return sessions.record_of(model.Migration, row)

    async def get_by_uuid(self, uuid: str) -> model.Migration:
        """Give a migration by its uuid, which is also its operation's id.

        :raises NotFound: there is none.
        """
        row = await self._row(uuid)
        if row is None:
            raise errors.NotFound(what="Migration", name=uuid)
        return sessions.record_of(model.Migration, row)

    async def list(self, query: MigrationQuery = MigrationQuery()) -> builtins.list[model.Migration]:
        """Give one page.

        :raises MarkerNotFound: no such migration.
        """
        keys = paging.NEWEST_FIRST if query.is_newest_first else (paging.SortKey(name="id", is_descending=False),)
        chosen = sa.select(*COLUMNS).where(*_conditions(query))
        rows = await paging.page(self._session, chosen, _T, keys, limit=query.limit, marker=query.marker, find=self._row)
        return sessions.records_of(model.Migration, rows)

    async def in_progress_of(self, instance_uuid: str) -> builtins.list[model.Migration]:
        """Give the server's migrations that have not ended, oldest first; the API shows those in states.SHOWN_IN_PROGRESS."""
        return await self.list(
            MigrationQuery(instance_uuid=instance_uuid, statuses=sorted(states.IN_PROGRESS), is_newest_first=False),
        )

    async def unconfirmed(self) -> builtins.list[Unconfirmed]:
        """Give those that wait to be confirmed or reverted, oldest first. One query."""
        return sessions.records_of(Unconfirmed, await self._session.rows(_unconfirmed(), {}))

    async def record_progress(self, counters: Sequence[Counted]) -> None:
        """Store counters of many migrations, and the share sent of their servers. Those that have ended are left alone.

        So are those whose source is another host than the one that counted: nobody is believed about a migration of others.

        Smoothed against what was stored before, whichever agent saw it: the percentage never falls.

        Raises no generation: counters are hints, and must not make anybody's write stale.
        """
        if not counters:
            return
        now = self._session.now
        rows = await self._session.rows(_COUNTERS, {"uuids": sorted({one.uuid for one in counters})})
        kept = {(row.uuid, row.source_compute): row.progress for row in rows}
        own = [one for one in counters if (one.uuid, one.host) in kept]
        if not own:
            return
        # By uuid, migrations before servers, as everybody locks them.
        ordered = sorted(
            ((one.uuid, progress_model.following(kept[one.uuid, one.host], one.counters)) for one in own), key=lambda item: item[0]
        )
        stored = [{"of_uuid": uuid, "new_progress": progress, "at": now} for uuid, progress in ordered]
        shares = [{"of_uuid": uuid, "share": progress_model.memory_percentage(progress), "at": now} for uuid, progress in ordered]
        await self._session.connection.execute(_STORE_COUNTERS, stored)
        await self._session.connection.execute(_STORE_SHARE, shares)

    async def _row(self, uuid: str) -> engines.Row | None:
        return await self._session.row(_BY_UUID, {"uuid": uuid})


_COUNTERS = sa.select(_T.c.uuid, _T.c.source_compute, _T.c.progress).where(_T.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
_STORE_COUNTERS = (
    sa.update(_T)
    .where(_T.c.uuid == sa.bindparam("of_uuid"), _T.c.finished_at.is_(None))
    .values(progress=sa.bindparam("new_progress"), updated_at=sa.bindparam("at"), changed_at=sa.bindparam("at"))
)
_STORE_SHARE = (
    sa.update(_S)
    .where(
        _S.c.uuid == sa.select(_T.c.instance_uuid).where(_T.c.uuid == sa.bindparam("of_uuid"), _T.c.finished_at.is_(None)).scalar_subquery()
    )
    .values(progress=sa.bindparam("share"), updated_at=sa.bindparam("at"), changed_at=sa.bindparam("at"))
)


def _conditions(query: MigrationQuery) -> list[sa.ColumnElement[bool]]:
    candidates: list[tuple[Any, sa.ColumnElement[bool]]] = [
        (query.host, sa.or_(_T.c.source_compute == query.host, _T.c.dest_compute == query.host)),
        (query.source_compute, _T.c.source_compute == query.source_compute),
        (query.dest_compute, _T.c.dest_compute == query.dest_compute),
        (query.instance_uuid, _T.c.instance_uuid == query.instance_uuid),
        (query.statuses, _T.c.status.in_(query.statuses or ())),
        (query.migration_type, _T.c.migration_type == query.migration_type),
        (query.user_id, _T.c.user_id == query.user_id),
        (query.project_id, _T.c.project_id == query.project_id),
    ]
    conditions = [condition for value, condition in candidates if value is not None]
    # Apart, because SQLAlchemy refuses to compare with None even where the comparison is thrown away.
    if query.changes_since is not None:
        conditions.append(_T.c.changed_at >= query.changes_since)
    if query.changes_before is not None:
        conditions.append(_T.c.changed_at <= query.changes_before)
    return conditions
