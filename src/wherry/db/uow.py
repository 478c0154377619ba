# SPDX-License-Identifier: Apache-2.0
"""A unit of work: every repository, on one transaction. Commits nothing itself; the store does."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import sqlalchemy as sa

from wherry.db import engine as engines
from wherry.db import session as sessions
from wherry.db.repositories import (
    actions,
    admission,
    apis,
    chores,
    conductors,
    disputes,
    flavors,
    hosts,
    inventories,
    migrations,
    operations,
    overview,
    reports,
    server_groups,
    servers,
)


class UnitOfWork:
    """What a unit of work reads and writes through. Not to be kept after the unit has returned."""

    def __init__(
        self,
        connection: engines.Connection,
        dialect: engines.Dialect,
        *,
        now: datetime.datetime,
        new_uuid: Callable[[], str],
        is_single: bool = False,
    ) -> None:
        session = sessions.Session(connection=connection, dialect=dialect, now=now, new_uuid=new_uuid, is_single=is_single)
        self.session = session
        self.servers = servers.Servers(session)
        self.hosts = hosts.Hosts(session)
        self.inventories = inventories.Inventories(session)
        self.migrations = migrations.Migrations(session)
        self.operations = operations.Operations(session)
        self.actions = actions.Actions(session)
        self.slots = admission.Slots(session)
        self.reports = reports.Reports(session)
        self.chores = chores.Chores(session)
        self.disputes = disputes.Disputes(session)
        self.flavors = flavors.Flavors(session)
        self.server_groups = server_groups.ServerGroups(session)
        self.overview = overview.Overview(session)
        self.conductors = conductors.Conductors(session)
        self.apis = apis.Apis(session)

    @property
    def now(self) -> datetime.datetime:
        """Time for every stamp of this unit."""
        return self.session.now

    async def database_time(self) -> datetime.datetime:
        """Read the clock that leases are judged by."""
        dialect = self.session.dialect
        rows = await self.session.rows(sa.select(dialect.lease_time("lease_now")), {"lease_now": dialect.lease_moment(self.now)})
        told: datetime.datetime = rows[0][0]
        return told

    def new_uuid(self) -> str:
        """Make an id for a new row."""
        return self.session.new_uuid()
