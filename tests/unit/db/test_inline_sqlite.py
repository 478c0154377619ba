# SPDX-License-Identifier: Apache-2.0
"""What only the in-line SQLite promises: no thread, no giving way, durability as configured, patience with other processes."""

from __future__ import annotations

import asyncio
import functools
import pathlib
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from typing import cast

import pytest
import sqlalchemy as sa

from wherry import errors
from wherry.clock import LoopClock
from wherry.config import database as config_database
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import servers as server_records
from wherry.model import server
from wherry.telemetry import logs
from wherry.testing import store_contract


def _config(path: pathlib.Path, **options: object) -> config_database.DatabaseSection:
    return config_database.DatabaseSection(connection=f"sqlite:///{path}", **options)  # type: ignore[arg-type]  # options differ in type


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "wherry.sqlite"


@pytest.fixture
async def harness(path: pathlib.Path) -> AsyncIterator[store_contract.Harness]:
    made = store_contract.Harness(config=_config(path, sqlite_busy_timeout_seconds=0.0, transaction_max_attempts=3))
    await made.store.upgrade()
    yield made
    await made.store.close()


async def test_no_thread_is_started(harness: store_contract.Harness) -> None:
    before = set(threading.enumerate())
    await harness.make_server()
    assert set(threading.enumerate()) == before


async def test_nothing_else_runs_inside_a_unit_of_work(harness: store_contract.Harness) -> None:
    """Two tasks that each run ten units never see each other's between begin and end."""
    under_way = 0
    most = 0

    async def unit(uow: uows.UnitOfWork) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await uow.servers.list(server_records.ServerQuery())
        under_way -= 1

    async def work() -> None:
        for _ in range(10):
            await harness.store.run(unit)
            await asyncio.sleep(0)

    await asyncio.gather(work(), work())
    assert most == 1


async def test_a_unit_that_awaits_something_else_is_stopped_and_stores_nothing(harness: store_contract.Harness) -> None:
    new = harness.new_server()

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.servers.insert(new)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="only the database may be awaited"):
        await harness.store.run(unit)
    with pytest.raises(errors.ServerNotFound):
        await harness.server(new.uuid)
    await harness.make_server()


async def test_writers_at_once_are_committed_together_and_each_by_its_own_merit(harness: store_contract.Harness) -> None:
    new = [harness.new_server() for _ in range(5)]

    async def refused(uow: uows.UnitOfWork) -> None:
        await uow.servers.insert(new[4])
        raise LookupError("after the write")

    async def write() -> list[object]:
        made = (harness.store.run(functools.partial(_insert, one)) for one in new[:4])
        return list(await asyncio.gather(*made, harness.store.run(refused), return_exceptions=True))

    said: list[str] = []
    await harness.engine.run_sync(lambda connection: _raw(connection).set_trace_callback(said.append), is_writing=False)
    results = await write()
    await harness.engine.run_sync(lambda connection: _raw(connection).set_trace_callback(None), is_writing=False)
    assert said.count("BEGIN IMMEDIATE") == 1
    assert results[:4] == [await harness.server(one.uuid) for one in new[:4]]
    assert isinstance(results[4], LookupError)
    with pytest.raises(errors.ServerNotFound):
        await harness.server(new[4].uuid)


async def test_no_more_are_committed_together_than_configured_and_others_are_served_between(path: pathlib.Path) -> None:
    harness = store_contract.Harness(config=_config(path, sqlite_group_commit_max=2))
    await harness.store.upgrade()
    new = [harness.new_server() for _ in range(5)]
    seen: list[int] = []

    async def look_on() -> None:
        while not seen or seen[-1] < len(new):
            seen.append(len(await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery()))))
            await asyncio.sleep(0)

    await asyncio.gather(*(harness.store.run(functools.partial(_insert, one)) for one in new), look_on())
    assert {2, 4} <= set(seen)
    await harness.store.close()


async def test_a_writer_that_has_gone_away_before_its_turn_writes_nothing(harness: store_contract.Harness) -> None:
    gone, stays = harness.new_server(), harness.new_server()
    task = asyncio.create_task(harness.store.run(functools.partial(_insert, gone)))
    other = asyncio.create_task(harness.store.run(functools.partial(_insert, stays)))
    # Both have asked, and no turn has been taken.
    await asyncio.sleep(0)
    task.cancel()
    await other
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(errors.ServerNotFound):
        await harness.server(gone.uuid)
    assert (await harness.server(stays.uuid)).uuid == stays.uuid


async def test_a_full_disk_takes_nobodys_answered_write_back(harness: store_contract.Harness) -> None:
    small, large = harness.new_server(), harness.new_server(description="x" * (1 << 22))

    async def bound(uow: uows.UnitOfWork, pages: str) -> None:
        await uow.session.rows(sa.text(f"PRAGMA max_page_count = {pages}"))

    await harness.store.run(lambda uow: bound(uow, "200"))
    results = await asyncio.gather(
        harness.store.run(functools.partial(_insert, small)), harness.store.run(functools.partial(_insert, large)), return_exceptions=True
    )
    assert isinstance(results[1], errors.DatabaseUnavailable) and "full" in str(results[1])
    # SQLite took both back; the first was run again.
    assert results[0] == await harness.server(small.uuid)
    with pytest.raises(errors.ServerNotFound):
        await harness.server(large.uuid)


async def test_what_a_writer_logs_carries_its_own_request(harness: store_contract.Harness) -> None:
    async def who(uow: uows.UnitOfWork) -> str:
        del uow
        return logs.current("request_id")

    async def ask(request_id: str) -> str:
        with logs.bound(request_id=request_id):
            return await harness.store.run(who)

    assert list(await asyncio.gather(ask("req-1"), ask("req-2"))) == ["req-1", "req-2"]


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)


async def _insert(new: server_records.NewServer, uow: uows.UnitOfWork) -> server.Server:
    return await uow.servers.insert(new)


@pytest.mark.parametrize(("level", "number"), [("full", 2), ("normal", 1)])
async def test_the_file_is_in_wal_mode_with_the_configured_durability(path: pathlib.Path, level: str, number: int) -> None:
    store = await stores.Store.open(_config(path, sqlite_synchronous=level), LoopClock())
    await store.upgrade()

    async def pragmas(uow: uows.UnitOfWork) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [next(iter((await uow.session.connection.execute(sa.text(f"PRAGMA {name}"))).one())) for name in names]

    assert await store.read(pragmas) == ["wal", number, 1]
    await store.close()


async def test_a_database_in_memory_lasts_as_long_as_its_store() -> None:
    harness = store_contract.Harness(config=config_database.DatabaseSection(connection="sqlite:///"))
    await harness.store.upgrade()
    made = await harness.make_server()
    assert await harness.server(made.uuid) == made
    await harness.store.close()


async def test_another_process_that_writes_is_waited_for(harness: store_contract.Harness, path: pathlib.Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(harness.make_server())
    await asyncio.sleep(0)
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    made = await waiting
    assert await harness.server(made.uuid) == made


async def test_another_process_that_never_ends_its_transaction_is_an_error_in_the_end(
    harness: store_contract.Harness, path: pathlib.Path
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.DatabaseUnavailable, match="gave up after 3 attempts: database is locked"):
        await harness.make_server()
    # Readers are not in its way.
    assert await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery())) == []
    other.close()


async def test_a_file_that_cannot_be_opened_is_said_to_be_unavailable(tmp_path: pathlib.Path) -> None:
    store = await stores.Store.open(_config(tmp_path / "missing" / "w.sqlite"), LoopClock())
    with pytest.raises(errors.DatabaseUnavailable, match="cannot be opened: there is no directory"):
        await store.read(lambda uow: uow.hosts.list())


async def test_an_unknown_database_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(errors.ConfigInvalid) as refused:
        await stores.Store.open(config_database.DatabaseSection(connection="mysql://x"), LoopClock())
    assert "sqlite:///FILE" in refused.value.remedy


_DYING = """
import asyncio, os, signal, sys
from wherry.config.database import DatabaseSection
from wherry.testing.store_contract import Harness

async def main():
    harness = Harness(config=DatabaseSection(connection=sys.argv[1], sqlite_synchronous="normal"))
    await harness.store.upgrade()
    print((await harness.make_server()).uuid, flush=True)

    async def dying(uow):
        await uow.servers.insert(harness.new_server())
        os.kill(os.getpid(), signal.SIGKILL)

    await harness.store.run(dying)

asyncio.run(main())
"""


async def test_what_was_committed_survives_kill_9_and_what_was_not_is_gone(path: pathlib.Path) -> None:
    config = _config(path)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _DYING, config.connection, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    store = await stores.Store.open(config, LoopClock())
    found = await store.read(lambda uow: uow.servers.list(server_records.ServerQuery()))
    assert [one.uuid for one in found] == [said.decode().strip()]
    await store.close()
