# SPDX-License-Identifier: Apache-2.0
"""What only PostgreSQL can show: locks between connections, time-outs, a server that goes away, the schema's revisions."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pathlib

import pytest
import sqlalchemy as sa
from sqlalchemy.ext import asyncio as sa_asyncio

from wherry import errors
from wherry.clock import LoopClock
from wherry.config import database as config_database
from wherry.db import schema
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import servers as server_records
from wherry.model import operation, states
from wherry.testing import postgres_server, store_contract

pytestmark = pytest.mark.postgres

_OBJECTS = (
    "SELECT table_name || '.' || column_name, concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)"
    " FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
)


async def _objects(connection: sa_asyncio.AsyncConnection) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement in _OBJECTS:
        rows = await connection.execute(sa.text(statement))
        found |= {name: text for name, text in rows.all() if not name.startswith("alembic_version")}
    return found


async def test_the_revisions_make_the_schema_that_the_tables_describe(
    postgresql: postgres_server.Server, config: config_database.DatabaseSection
) -> None:
    postgresql.sql("CREATE DATABASE described")
    try:
        engine = sa_asyncio.create_async_engine(postgresql.address("described"))
        async with engine.begin() as connection:
            await connection.run_sync(schema.metadata.create_all)
            expected = await _objects(connection)
        await engine.dispose()
    finally:
        postgresql.sql("DROP DATABASE described WITH (FORCE)")
    engine = sa_asyncio.create_async_engine(config.connection)
    async with engine.connect() as connection:
        found = await _objects(connection)
    await engine.dispose()
    assert len(expected) > 100
    assert found == expected


async def test_two_processes_that_upgrade_at_once_upgrade_once(postgresql: postgres_server.Server) -> None:
    postgresql.sql("CREATE DATABASE fresh")
    config = config_database.DatabaseSection(connection=postgresql.address("fresh"))
    harnesses = [store_contract.Harness(config=config) for _ in range(3)]
    try:
        states = await asyncio.gather(*(one.store.upgrade() for one in harnesses))
        assert [one.is_current for one in states] == [True, True, True]
    finally:
        for one in harnesses:
            await one.store.close()
        postgresql.sql("DROP DATABASE fresh WITH (FORCE)")


async def test_two_units_that_lock_crosswise_are_both_stored(harness: store_contract.Harness) -> None:
    """PostgreSQL ends one of them for the deadlock; the store runs it again."""
    pair = [await harness.make_server() for _ in range(2)]
    both_hold_one = asyncio.Barrier(2)
    runs = 0

    def crosswise(first: int, second: int) -> stores.Unit[None]:
        async def unit(uow: uows.UnitOfWork) -> None:
            nonlocal runs
            runs += 1
            is_first_run = runs <= 2
            for place in (first, second):
                read = await uow.servers.get(pair[place].uuid)
                await uow.servers.update(read, metadata={**read.metadata, f"from-{first}": "yes"})
                if place == first and is_first_run:
                    await both_hold_one.wait()

        return unit

    await asyncio.gather(harness.store.run(crosswise(0, 1)), harness.store.run(crosswise(1, 0)))
    assert runs == 3
    for one in pair:
        assert (await harness.server(one.uuid)).metadata == {"from-0": "yes", "from-1": "yes"}


async def test_what_is_asked_while_an_end_waits_for_its_locks_is_seen_by_it(harness: store_contract.Harness) -> None:
    """The end is one statement, which sees what was there when it began: it must begin again."""
    owned = await harness.make_owned()
    is_recorded, may_commit = asyncio.Event(), asyncio.Event()

    async def ask(uow: uows.UnitOfWork) -> None:
        await uow.operations.record_intent(owned.id, operation.IntentKind.ABORT, request_id="req-abort")
        is_recorded.set()
        await may_commit.wait()

    async def end(uow: uows.UnitOfWork) -> list[operation.Intent]:
        await uow.operations.advance(owned, operation.Transition(event=states.Event.CHECK_FAILED))
        return [] if uow.session.is_single else await uow.operations.pending_intents(owned.id)

    async with harness.another_store() as other:
        asking = asyncio.create_task(other.run(ask))
        await is_recorded.wait()
        ending = asyncio.create_task(harness.store.put(end))
        while not await harness.store.look(_has_waiter):  # noqa: ASYNC110 - PostgreSQL tells nobody
            await asyncio.sleep(0.01)
        may_commit.set()
        await asking
        assert [one.kind for one in await ending] == [operation.IntentKind.ABORT]


async def _has_waiter(uow: uows.UnitOfWork) -> bool:
    waiting = sa.text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() LIMIT 1")
    return await uow.session.row(waiting) is not None


async def test_a_lock_that_is_not_given_up_ends_in_an_error_after_the_statement_timeout(config: config_database.DatabaseSection) -> None:
    harness = store_contract.Harness(config=dataclasses.replace(config, statement_timeout_seconds=0.2))
    made = await harness.make_server()
    engine = sa_asyncio.create_async_engine(config.connection)
    async with engine.connect() as other:
        await other.execute(sa.select(schema.servers).where(schema.servers.c.uuid == made.uuid).with_for_update())
        with pytest.raises(errors.DatabaseUnavailable, match="statement timeout"):
            await harness.store.run(lambda uow: uow.servers.update(made, name="x"))
    await engine.dispose()
    await harness.store.run(lambda uow: uow.servers.update(made, name="x"))
    await harness.store.close()


async def test_a_pool_with_no_free_connection_ends_in_an_error_after_its_timeout(config: config_database.DatabaseSection) -> None:
    harness = store_contract.Harness(config=dataclasses.replace(config, pool_size=1, max_overflow=0, pool_timeout_seconds=0.2))
    is_held, may_end = asyncio.Event(), asyncio.Event()

    async def holding(_uow: uows.UnitOfWork) -> None:
        is_held.set()
        await may_end.wait()

    holder = asyncio.create_task(harness.store.run(holding))
    await is_held.wait()
    with pytest.raises(errors.DatabaseUnavailable, match="QueuePool limit"):
        await harness.store.read(lambda uow: uow.hosts.list())
    may_end.set()
    await holder
    await harness.store.read(lambda uow: uow.hosts.list())
    await harness.store.close()


async def test_connections_that_died_with_a_restarted_server_are_replaced_without_an_error(
    postgresql: postgres_server.Server, harness: store_contract.Harness
) -> None:
    made = await harness.make_server()
    await asyncio.gather(*(harness.server(made.uuid) for _ in range(4)))
    postgresql.control("stop", "-m", "immediate")
    postgresql.start()
    found = await asyncio.gather(*(harness.server(made.uuid) for _ in range(4)))
    assert found == [made] * 4
    await harness.store.run(lambda uow: uow.servers.update(made, name="after"))


async def test_a_server_that_is_away_is_said_to_be_unavailable_and_all_is_well_at_its_return(
    postgresql: postgres_server.Server, harness: store_contract.Harness
) -> None:
    made = await harness.make_server()
    postgresql.control("stop", "-m", "immediate")
    try:
        for _ in range(2):
            with pytest.raises(errors.DatabaseUnavailable):
                await harness.store.run(lambda uow: uow.servers.update(made, name="away"))
    finally:
        postgresql.start()
    assert await harness.server(made.uuid) == made
    assert (await harness.store.run(lambda uow: uow.servers.update(made, name="back"))).name == "back"


async def test_a_cancelled_unit_stores_nothing_and_gives_its_connection_back(config: config_database.DatabaseSection) -> None:
    harness = store_contract.Harness(config=dataclasses.replace(config, pool_size=1, max_overflow=0))
    new = harness.new_server()
    has_written = asyncio.Event()

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.servers.insert(new)
        has_written.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(harness.store.run(unit))
    await has_written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery())) == []
    await harness.store.close()


async def test_a_wrong_password_or_database_is_said_to_be_unavailable(postgresql: postgres_server.Server) -> None:
    harness = store_contract.Harness(config=config_database.DatabaseSection(connection=postgresql.address("nowhere")))
    with pytest.raises(errors.DatabaseUnavailable, match="nowhere"):
        await harness.store.read(lambda uow: uow.hosts.list())
    await harness.store.close()


async def test_leases_are_judged_by_the_databases_clock(harness: store_contract.Harness) -> None:
    """A conductor whose own clock is years off neither loses its lease nor keeps another from taking over."""
    await harness.store.run(lambda uow: uow.conductors.renew("one", "control", 3600))
    harness.clock.advance(10**8)
    (known,) = await harness.store.read(lambda uow: uow.conductors.list())
    assert known.is_live
    harness.clock.advance(-2 * 10**8)
    await harness.store.run(lambda uow: uow.conductors.renew("one", "control", -1))
    (known,) = await harness.store.read(lambda uow: uow.conductors.list())
    assert not known.is_live


async def test_the_schema_of_a_server_that_is_not_there_is_unavailable(tmp_path: pathlib.Path) -> None:
    config = config_database.DatabaseSection(connection=f"postgresql+asyncpg://postgres@/test?host={tmp_path}")
    store = await stores.Store.open(config, LoopClock())
    for ask in (store.check, store.upgrade):
        with pytest.raises(errors.DatabaseUnavailable):
            await ask()
    await store.close()


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "put together"])
async def test_a_value_that_the_driver_refuses_is_nothing_to_who_has_its_connection_next(
    config: config_database.DatabaseSection, is_kept: bool
) -> None:
    harness = store_contract.Harness(config=dataclasses.replace(config, pool_size=1, max_overflow=0))
    made = await harness.make_server()
    hosts = schema.hosts
    statement = sa.select(hosts.c.name).where(hosts.c.id == (sa.bindparam("id") if is_kept else sa.literal(2**40, sa.Integer)))
    parameters = {"id": 2**40} if is_kept else None
    with pytest.raises(Exception, match="out of int32 range"):
        await harness.store.look(lambda uow: uow.session.rows(statement, parameters))
    assert await harness.store.read(lambda uow: uow.servers.get(made.uuid)) == made
    await harness.store.close()


async def test_a_unit_that_passes_over_a_failed_statement_is_not_taken_for_stored(harness: store_contract.Harness) -> None:
    made = await harness.make_server()

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.servers.update(made, name="lost")
        with contextlib.suppress(sa.exc.DBAPIError):
            await uow.session.rows(sa.text("SELECT 1/0"))

    with pytest.raises(RuntimeError, match="is undone"):
        await harness.store.run(unit)
    assert await harness.server(made.uuid) == made
