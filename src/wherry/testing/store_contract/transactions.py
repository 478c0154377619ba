# SPDX-License-Identifier: Apache-2.0
"""What is promised of units of work: all or nothing, run again when others are in the way, and of the schema."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from wherry import errors
from wherry.db import engine as engines
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import servers as server_records
from wherry.model import server
from wherry.testing.store_contract import harness as harnesses

T = TypeVar("T")


class _Tripping(harnesses.CountingEngine):
    """Ends the first transactions in trouble, after their work was done."""

    def __init__(self, engine: engines.Engine, troubles: list[engines.Trouble]) -> None:
        super().__init__(engine)
        self.troubles = troubles
        self.runs = 0

    async def transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool, is_single: bool = False) -> T:
        async def tripped(connection: engines.Connection) -> T:
            result = await work(connection)
            self.runs += 1
            if self.troubles:
                raise engines.Troubled(self.troubles.pop(0), RuntimeError("in the way"))
            return result

        return await super().transaction(tripped, is_writing=is_writing, is_single=is_single)


class TransactionContract:
    """A unit of work is stored whole."""

    async def test_a_unit_that_raises_stores_nothing(self, harness: harnesses.Harness) -> None:
        new = harness.new_server()

        async def unit(uow: uows.UnitOfWork) -> None:
            await uow.servers.insert(new)
            raise LookupError("after the write")

        with pytest.raises(LookupError):
            await harness.store.run(unit)
        with pytest.raises(errors.ServerNotFound):
            await harness.server(new.uuid)

    async def test_a_unit_sees_its_own_writes_and_others_see_them_after_it(self, harness: harnesses.Harness) -> None:
        new = harness.new_server()

        async def unit(uow: uows.UnitOfWork) -> server.Server:
            await uow.servers.insert(new)
            return await uow.servers.get(new.uuid)

        made = await harness.store.run(unit)
        async with harness.another_store() as other:
            assert await other.read(lambda uow: uow.servers.get(new.uuid)) == made

    async def test_a_reading_unit_cannot_write(self, harness: harnesses.Harness) -> None:
        new = harness.new_server()
        with pytest.raises(Exception, match=r"(?i)read.?only"):
            await harness.store.read(lambda uow: uow.servers.insert(new))
        with pytest.raises(errors.ServerNotFound):
            await harness.server(new.uuid)
        # And writing goes on afterwards.
        await harness.store.run(lambda uow: uow.servers.insert(new))

    async def test_a_look_is_one_statement(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        assert await harness.store.look(lambda uow: uow.servers.get(made.uuid)) == made

        async def two(uow: uows.UnitOfWork) -> None:
            await uow.servers.get(made.uuid)
            await uow.servers.get(made.uuid)

        with pytest.raises(RuntimeError, match="a look is one statement"):
            await harness.store.look(two)
        # The connection is fit for transactions again.
        assert (await harness.store.run(lambda uow: uow.servers.update(made, name="x"))).name == "x"

    async def test_a_unit_is_run_again_when_others_were_in_its_way_and_stored_once(self, harness: harnesses.Harness) -> None:
        engine = _Tripping(harness.engine, [engines.Trouble.CONFLICT, engines.Trouble.LOST])
        store = stores.Store(engine, harness.config, harness.clock)
        made = await store.run(lambda uow: uow.servers.insert(harness.new_server()))
        assert engine.runs == 3
        assert [one.uuid for one in await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery()))] == [made.uuid]

    async def test_a_unit_is_given_up_after_the_configured_attempts(self, harness: harnesses.Harness) -> None:
        engine = _Tripping(harness.engine, [engines.Trouble.CONFLICT] * 99)
        store = stores.Store(engine, harness.config, harness.clock)
        with pytest.raises(errors.DatabaseUnavailable, match=f"gave up after {harness.config.transaction_max_attempts} attempts"):
            await store.run(lambda uow: uow.servers.insert(harness.new_server()))
        assert engine.runs == harness.config.transaction_max_attempts

    async def test_a_unit_whose_commit_was_not_answered_is_not_run_again(self, harness: harnesses.Harness) -> None:
        engine = _Tripping(harness.engine, [engines.Trouble.UNAVAILABLE])
        store = stores.Store(engine, harness.config, harness.clock)
        with pytest.raises(errors.DatabaseUnavailable, match="in the way"):
            await store.run(lambda uow: uow.servers.insert(harness.new_server()))
        assert engine.runs == 1

    async def test_an_error_of_the_unit_is_not_repeated(self, harness: harnesses.Harness) -> None:
        runs = 0

        async def unit(_uow: uows.UnitOfWork) -> None:
            nonlocal runs
            runs += 1
            raise errors.StaleWrite(what="Server", name="x")

        with pytest.raises(errors.StaleWrite):
            await harness.store.run(unit)
        assert runs == 1

    async def test_writers_of_one_row_at_once_are_all_stored_when_each_reads_it_first(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        won: list[str] = []

        async def count_up(store: stores.Store) -> None:
            for _ in range(5):
                while True:
                    try:
                        await store.run(_raised_by_one(made.uuid))
                        break
                    except errors.StaleWrite:
                        won.append("again")

        async with harness.another_store() as one, harness.another_store() as two:
            await asyncio.gather(*(count_up(store) for store in (harness.store, one, two)))
        after = await harness.server(made.uuid)
        assert after.metadata == {"count": "15"}
        assert after.generation == 15

    async def test_the_schema_is_current_and_upgrading_again_changes_nothing(self, harness: harnesses.Harness) -> None:
        before = await harness.store.check()
        assert before.is_current
        assert before.is_usable
        assert await harness.store.upgrade() == before


def _raised_by_one(uuid: str) -> stores.Unit[server.Server]:
    async def unit(uow: uows.UnitOfWork) -> server.Server:
        read = await uow.servers.get(uuid)
        return await uow.servers.update(read, metadata={"count": str(int(read.metadata.get("count", "0")) + 1)})

    return unit
