# SPDX-License-Identifier: Apache-2.0
"""Each option of [database] that bounds something does so on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext import asyncio as sa_asyncio

from wherry import errors
from wherry.config import database as config_database
from wherry.db import schema
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.testing import postgres_server, store_contract

pytestmark = pytest.mark.postgres

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name LIKE '%timeout' OR name = 'application_name'"


@pytest.fixture
async def other(config: config_database.DatabaseSection) -> AsyncIterator[sa_asyncio.AsyncConnection]:
    """Give a connection that has nothing to do with the store."""
    engine = sa_asyncio.create_async_engine(config.connection)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


def _harness(config: config_database.DatabaseSection, **options: Any) -> store_contract.Harness:
    return store_contract.Harness(config=dataclasses.replace(config, **options))


async def _rows(harness: store_contract.Harness, statement: str) -> list[Any]:
    return list(await harness.store.read(lambda uow: uow.session.rows(sa.text(statement))))


async def test_the_servers_own_limits_are_set_on_every_connection(config: config_database.DatabaseSection) -> None:
    harness = _harness(config, statement_timeout_seconds=7.5, lock_timeout_seconds=2.5, idle_in_transaction_timeout_seconds=3.5)
    found = {row.name: row.setting for row in await _rows(harness, _SETTINGS)}
    await harness.store.close()
    assert found["statement_timeout"] == "7500"
    assert found["lock_timeout"] == "2500"
    assert found["idle_in_transaction_session_timeout"] == "3500"
    assert found["application_name"] == "wherry"


async def test_the_pool_opens_no_more_connections_than_it_may(config: config_database.DatabaseSection) -> None:
    harness = _harness(config, pool_size=2, max_overflow=1, pool_timeout_seconds=10.0)
    most, now, has_three = 0, 0, asyncio.Event()

    async def unit(uow: uows.UnitOfWork) -> None:
        nonlocal most, now
        await uow.session.rows(sa.text("SELECT 1"))
        now += 1
        most = max(most, now)
        if now == 3:
            has_three.set()
        async with asyncio.timeout(10):
            await has_three.wait()
        await asyncio.sleep(0.01)
        now -= 1

    await asyncio.gather(*(harness.store.read(unit) for _ in range(9)))
    kept = await _rows(harness, "SELECT count(*) AS many FROM pg_stat_activity WHERE application_name = 'wherry'")
    await harness.store.close()
    assert most == 3
    # What was opened beyond pool_size is closed when it is not needed any more.
    assert kept[0].many == 2


async def test_a_kept_connection_is_waited_for_before_another_is_opened(config: config_database.DatabaseSection) -> None:
    harness = _harness(config, pool_size=1, max_overflow=5, overflow_wait_seconds=10.0)
    who = sa.text("SELECT pg_backend_pid() AS pid")
    found = await asyncio.gather(*(harness.store.look(lambda uow: uow.session.rows(who)) for _ in range(6)))
    await harness.store.close()
    assert len({rows[0].pid for rows in found}) == 1


async def test_a_unit_that_is_cancelled_leaves_nothing_to_who_has_its_connection_next(config: config_database.DatabaseSection) -> None:
    harness = _harness(config, pool_size=1, max_overflow=0)
    made, other = await harness.make_server(), await harness.make_server()
    written = asyncio.Event()

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.servers.update(made, name="cancelled")
        written.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(harness.store.run(unit))
    await written.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await harness.store.run(lambda uow: uow.servers.update(other, name="next"))
    found = await harness.server(made.uuid)
    await harness.store.close()
    assert found.name == made.name


async def test_a_lock_is_waited_for_no_longer_than_lock_timeout(
    config: config_database.DatabaseSection, other: sa_asyncio.AsyncConnection
) -> None:
    harness = _harness(config, lock_timeout_seconds=0.2)
    made = await harness.make_server()
    await other.execute(sa.select(schema.servers).where(schema.servers.c.uuid == made.uuid).with_for_update())
    begun = time.monotonic()
    with pytest.raises(errors.DatabaseUnavailable, match="lock timeout"):
        await harness.store.run(lambda uow: uow.servers.update(made, name="x"))
    # Once: who has waited that long is not made to wait ten times.
    assert time.monotonic() - begun < 1.5
    await harness.store.close()


async def test_a_process_that_is_stopped_in_mid_transaction_loses_its_locks(
    config: config_database.DatabaseSection, other: sa_asyncio.AsyncConnection
) -> None:
    harness = _harness(config, idle_in_transaction_timeout_seconds=0.3)
    made = await harness.make_server()
    runs = 0

    async def unit(uow: uows.UnitOfWork) -> None:
        nonlocal runs
        runs += 1
        await uow.servers.update(made, name="stopped")
        if runs == 1:
            # As a process that was sent SIGSTOP: it holds a row and says nothing. Whoever wants the row gets it.
            await other.execute(sa.select(schema.servers).where(schema.servers.c.uuid == made.uuid).with_for_update())
            await other.rollback()

    await harness.store.run(unit)
    await harness.store.close()
    # The transaction that the server ended is run again, on another connection.
    assert runs == 2


async def test_a_server_that_says_farewell_between_the_last_statement_and_the_commit(
    postgresql: postgres_server.Server, config: config_database.DatabaseSection, tmp_path: pathlib.Path
) -> None:
    """The server's word has come, the end of the connection has not: asyncpg then takes its connection for busy."""
    farewell = asyncio.Event()
    ends: list[asyncio.Event] = []

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        farewell.set()
        # The network holds the end back for so long.
        await asyncio.sleep(0.3)
        writer.close()

    async def questions(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(end := asyncio.Event())
        from_server, to_server = await asyncio.open_unix_connection(postgresql.directory / f".s.PGSQL.{postgres_server.PORT}")
        await asyncio.gather(answers(from_server, writer), questions(reader, to_server))
        end.set()

    async with await asyncio.start_unix_server(relay, tmp_path / f".s.PGSQL.{postgres_server.PORT}"):
        direct = f"host={postgresql.directory}&"
        assert direct in config.connection
        relayed = config.connection.replace(direct, f"host={tmp_path}&")
        harness = _harness(config, connection=relayed, idle_in_transaction_timeout_seconds=0.1)
        made = await harness.make_server()
        runs = 0

        async def unit(uow: uows.UnitOfWork) -> None:
            nonlocal runs
            runs += 1
            await uow.servers.update(made, name="told twice")
            if runs == 1:
                await farewell.wait()
                # The relay has written it; the loop's next round reads it.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        await harness.store.run(unit)
        found = await harness.server(made.uuid)
        await harness.store.close()
        await asyncio.gather(*(end.wait() for end in ends))
    assert runs == 2
    assert found.name == "told twice"


async def test_a_silent_server_is_given_up_after_transaction_timeout_and_needs_nobody_at_its_return(
    postgresql: postgres_server.Server, config: config_database.DatabaseSection
) -> None:
    harness = _harness(config, transaction_timeout_seconds=0.5, connect_timeout_seconds=0.5, pool_timeout_seconds=0.5, pool_size=2)
    made = await harness.make_server()
    # One connection that is open when the server falls silent, and one that has to be made.
    await harness.server(made.uuid)
    postgresql.signal_all(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(errors.DatabaseUnavailable):
                await harness.server(made.uuid)
        assert time.monotonic() - begun < 5.0
    finally:
        postgresql.signal_all(signal.SIGCONT)
    assert await harness.server(made.uuid) == made
    assert (await harness.store.run(lambda uow: uow.servers.update(made, name="back"))).name == "back"
    await harness.store.close()


async def test_a_unit_that_is_cancelled_while_the_server_is_silent_ends_soon(
    postgresql: postgres_server.Server, config: config_database.DatabaseSection
) -> None:
    """A process that is told to stop must not wait for a database that says nothing."""
    harness = _harness(config)
    made = await harness.make_server()
    postgresql.signal_all(signal.SIGSTOP)
    try:
        task = asyncio.create_task(harness.store.run(lambda uow: uow.servers.update(made, name="x")))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await harness.store.close()
        # The server is given two seconds to say goodbye to the connection.
        assert time.monotonic() - begun < 4.0
    finally:
        postgresql.signal_all(signal.SIGCONT)


class _RecordingClock(store_contract.SettableClock):
    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


async def test_pauses_between_attempts_grow_to_a_bound_and_end(config: config_database.DatabaseSection) -> None:
    """PostgreSQL refuses each attempt as not serializable."""
    options: dict[str, Any] = {
        "transaction_max_attempts": 6,
        "transaction_retry_initial_seconds": 0.01,
        "transaction_retry_max_seconds": 0.04,
    }
    config, clock = dataclasses.replace(config, **options), _RecordingClock()
    store = stores.Store(stores.engine_for(config), config, clock)

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.session.rows(sa.text("DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(errors.DatabaseUnavailable, match=r"gave up after 6 attempts: .*in the way"):
        await store.run(unit)
    await store.close()
    for pause, expected in zip(clock.pauses, (0.01, 0.02, 0.04, 0.04, 0.04), strict=True):
        assert expected * 0.5 <= pause <= expected * 1.5


async def test_writing_to_a_standby_is_unavailable_and_reading_goes_on(
    config: config_database.DatabaseSection, other: sa_asyncio.AsyncConnection
) -> None:
    """After a fail-over the old address may lead to a server that only reads."""
    harness = _harness(config)
    made = await harness.make_server()
    await harness.store.close()
    await other.execute(sa.text("ALTER DATABASE test SET default_transaction_read_only = on"))
    await other.commit()
    try:
        with pytest.raises(errors.DatabaseUnavailable, match="read-only"):
            await harness.store.run(lambda uow: uow.servers.update(made, name="x"))
        assert await harness.server(made.uuid) == made
    finally:
        await other.execute(sa.text("SET default_transaction_read_only = off"))
        await other.execute(sa.text("ALTER DATABASE test RESET default_transaction_read_only"))
        await other.commit()
    await harness.store.close()
