# SPDX-License-Identifier: Apache-2.0
"""One database that all tests use in turn, emptied before each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg  # type: ignore[import-untyped]  # ships no annotations
import pytest

from wherry.clock import LoopClock
from wherry.config import database as config_database
from wherry.db import schema
from wherry.db import store as stores
from wherry.testing import postgres_server, store_contract


@pytest.fixture(scope="session")
def upgraded(postgresql: postgres_server.Server) -> config_database.DatabaseSection:
    """Make the database that all tests use in turn."""
    postgresql.sql("CREATE DATABASE test")
    config = config_database.DatabaseSection(connection=postgresql.address("test"))

    async def upgrade() -> None:
        store = await stores.Store.open(config, LoopClock())
        await store.upgrade()
        await store.close()

    asyncio.run(upgrade())
    return config


_KEPT = (schema.locks, schema.flavors)
#: Ends what a failed test left open, and empties every table but for what is there from the beginning.
_CLEAN = "\n".join(
    [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();",
        *(f"DELETE FROM {table.name};" for table in reversed(schema.metadata.sorted_tables) if table not in _KEPT),
        f"DELETE FROM {schema.flavors.name} WHERE name NOT LIKE 'm1.%';",
    ]
)


@pytest.fixture
async def config(postgresql: postgres_server.Server, upgraded: config_database.DatabaseSection) -> config_database.DatabaseSection:
    """Give an empty database with the schema. A new one for each test would take ten times as long."""
    connection = await asyncpg.connect(host=str(postgresql.directory), port=postgres_server.PORT, user="postgres", database="test")
    await connection.execute(_CLEAN)
    await connection.close()
    return upgraded


@pytest.fixture
async def harness(config: config_database.DatabaseSection) -> AsyncIterator[store_contract.Harness]:
    made = store_contract.Harness(config=config)
    yield made
    await made.store.close()
