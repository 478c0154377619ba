# SPDX-License-Identifier: Apache-2.0
"""From each released schema to this one: nothing is lost, this release reads it, and the earlier one can still write. On SQLite."""

from __future__ import annotations

import pathlib

import pytest
import sqlalchemy as sa

from tests.unit.db import upgrading
from wherry import clock as clocks
from wherry.config import database as config_database
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.migrations import runner
from wherry.db.repositories import migrations, servers


@pytest.mark.parametrize("revision", upgrading.REVISIONS)
async def test_an_earlier_schema_is_upgraded_with_what_is_in_it(tmp_path: pathlib.Path, revision: str) -> None:
    address = f"sqlite:///{tmp_path}/w.sqlite"
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        upgrading.upgrade_to(connection, revision)
        tables = upgrading.tables_of(connection)
        rows = upgrading.insert(connection, tables, 101)
    with engine.begin() as connection:
        assert runner.upgrade(connection, only_before_start=True).is_usable
        assert upgrading.missing(connection, tables, rows) == []
        # The earlier release goes on until it is replaced.
        later = upgrading.insert(connection, tables, 102)
        assert upgrading.missing(connection, tables, later) == []
    engine.dispose()
    store = await stores.Store.open(config_database.DatabaseSection(connection=address), clocks.LoopClock())
    assert await store.read(read_all) == (2, 2, 2, 2)
    await store.close()


async def read_all(uow: uows.UnitOfWork) -> tuple[int, int, int, int]:
    """Read what was written through the repositories of this release; gives how many of each."""
    found = await uow.migrations.list(migrations.MigrationQuery())
    operations = [await uow.operations.get(one.uuid) for one in found]
    return len(await uow.servers.list(servers.ServerQuery())), len(await uow.hosts.list()), len(found), len(operations)
