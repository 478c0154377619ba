# SPDX-License-Identifier: Apache-2.0
"""Upgrades of the schema on PostgreSQL: from each released one, and while processes are at work."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext import asyncio as sa_asyncio

from tests.unit.db import test_upgrades, upgrading
from wherry import clock as clocks
from wherry.config import database as config_database
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.migrations import runner
from wherry.testing import postgres_server, store_contract

pytestmark = pytest.mark.postgres


@pytest.fixture
def address(postgresql: postgres_server.Server) -> Iterator[str]:
    """Give an empty database."""
    postgresql.sql("CREATE DATABASE upgrades")
    yield postgresql.address("upgrades")
    postgresql.sql("DROP DATABASE upgrades WITH (FORCE)")


@pytest.mark.parametrize("revision", upgrading.REVISIONS)
async def test_an_earlier_schema_is_upgraded_with_what_is_in_it(address: str, revision: str) -> None:
    engine = sa_asyncio.create_async_engine(address)

    def before(connection: sa.Connection) -> tuple[list[sa.Table], list[upgrading.Row]]:
        upgrading.upgrade_to(connection, revision)
        tables = upgrading.tables_of(connection)
        return tables, upgrading.insert(connection, tables, 101)

    async with engine.begin() as connection:
        tables, rows = await connection.run_sync(before)
    store = await stores.Store.open(config_database.DatabaseSection(connection=address), clocks.LoopClock())
    assert (await store.upgrade(only_before_start=True)).is_usable

    def after(connection: sa.Connection) -> list[str]:
        # The earlier release goes on until it is replaced.
        later = upgrading.insert(connection, tables, 102)
        return upgrading.missing(connection, tables, [*rows, *later])

    async with engine.begin() as connection:
        assert await connection.run_sync(after) == []
    await engine.dispose()
    assert await store.read(test_upgrades.read_all) == (2, 2, 2, 2)
    await store.close()


async def test_units_go_on_while_the_schema_changes_under_them(config: config_database.DatabaseSection) -> None:
    """A column's change makes every plan useless that a connection has prepared; the units that meet that are run again."""
    harness = store_contract.Harness(config=config)
    made = [await harness.make_server() for _ in range(4)]
    is_done = asyncio.Event()
    counts = [0] * len(made)

    def renaming(uuid: str, name: str) -> stores.Unit[None]:
        async def unit(uow: uows.UnitOfWork) -> None:
            await uow.servers.update(await uow.servers.get(uuid), name=name)

        return unit

    async def work(number: int) -> None:
        while not is_done.is_set():
            counts[number] += 1
            name = f"name-{counts[number]}"
            await harness.store.run(renaming(made[number].uuid, name))
            assert (await harness.server(made[number].uuid)).name == name

    def change(length: int) -> list[str]:
        return [
            f"ALTER TABLE servers ADD COLUMN mood_{length} varchar(9)",
            f"ALTER TABLE servers ALTER COLUMN name TYPE varchar({length})",
            f"CREATE INDEX mood_{length} ON servers (mood_{length})",
            f"ALTER TABLE servers DROP COLUMN mood_{length}",
        ]

    workers = [asyncio.create_task(work(number)) for number in range(len(made))]
    try:
        for length in (300, 255):
            await asyncio.sleep(0.3)
            await harness.engine.run_sync(functools.partial(_run, change(length)))
        await asyncio.sleep(0.3)
    finally:
        is_done.set()
        await asyncio.gather(*workers)
        await harness.store.close()
    assert min(counts) > 2


def _run(statements: list[str], connection: sa.Connection) -> None:
    for statement in statements:
        connection.execute(sa.text(statement))


async def test_an_upgrade_that_meets_a_long_transaction_lets_others_pass_and_tries_again(address: str) -> None:
    """Waiting for its lock it would make everybody wait behind it; so it gives up soon, and comes back."""
    engine = sa_asyncio.create_async_engine(address)
    last_but_one = upgrading.REVISIONS[2]
    async with engine.begin() as connection:
        await connection.run_sync(upgrading.upgrade_to, last_but_one)
    config = config_database.DatabaseSection(
        connection=address, lock_timeout_seconds=0.2, transaction_retry_initial_seconds=0.05, transaction_retry_max_seconds=0.2
    )
    store = await stores.Store.open(config, clocks.LoopClock())
    async with engine.connect() as long:
        for table in ("servers", "hosts", "migrations"):
            await long.execute(sa.text(f"SELECT count(*) FROM {table}"))
        upgrading_now = asyncio.create_task(store.upgrade())
        async with engine.connect() as other:
            # While it waits for the long one, others wait for it no longer than its limit, again and again.
            for _ in range(5):
                await other.execute(sa.text("SET lock_timeout = '2s'"))
                await other.execute(sa.text("SELECT count(*) FROM servers"))
                await other.rollback()
                await asyncio.sleep(0.1)
        assert not upgrading_now.done()
    assert (await upgrading_now).is_current
    await store.close()
    await engine.dispose()


def test_the_revisions_are_those_of_the_tree() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        assert runner.state_of(connection).head == upgrading.REVISIONS[-1]
