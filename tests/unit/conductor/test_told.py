# SPDX-License-Identifier: Apache-2.0
"""Reports that this process stored are known to it; wherever another may have stored some, they are read again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from wherry.conductor import told
from wherry.config import database
from wherry.db import store as stores
from wherry.model import operation
from wherry.testing import lent_store
from wherry.testing.store_contract import harness as harnesses


@pytest.fixture
async def harness() -> AsyncIterator[harnesses.Harness]:
    made = harnesses.Harness(config=database.DatabaseSection(connection=lent_store.IN_MEMORY))
    await made.store.upgrade()
    yield made
    await made.store.close()


class _Source:
    """One agent, and what a conductor that stores its reports knows of them."""

    def __init__(self, harness: harnesses.Harness, of: operation.Operation) -> None:
        self._harness = harness
        self._of = of
        self.told = told.Told(of.id)

    async def store(self, sequence: int, *, epoch: int = 1) -> operation.Report:
        """Store a report as whichever conductor."""
        report = operation.Report(
            operation_id=self._of.id,
            epoch=epoch,
            sequence=sequence,
            kind=operation.ReportKind.TRANSFER_STARTED,
            host="host-a",
            body={},
            received_at=self._harness.clock.now(),
        )
        assert await self._harness.store.run(lambda uow: uow.reports.store(report))
        return report

    async def read(self) -> tuple[list[int], int]:
        """Give the numbers of what is known, and how many statements that took."""
        before = self._harness.engine.statements
        known = await self.told.read(self._harness.store)
        return [one.sequence for one in known], self._harness.engine.statements - before


@pytest.fixture
async def source(harness: harnesses.Harness) -> _Source:
    return _Source(harness, await harness.make_owned())


async def test_what_was_stored_here_is_not_read(source: _Source) -> None:
    source.told.begin()
    assert await source.read() == ([], 0)
    for number in (1, 2):
        source.told.note(await source.store(number))
    assert await source.read() == ([1, 2], 0)


async def test_what_is_not_known_is_read_once(source: _Source) -> None:
    await source.store(1)
    assert await source.read() == ([1], 1)
    assert await source.read() == ([1], 0)
    source.told.note(await source.store(2, epoch=2))
    assert await source.read() == ([1, 2], 0)


async def test_a_word_that_something_was_stored_has_all_read_again(source: _Source) -> None:
    source.told.begin()
    await source.store(1)
    source.told.note(None)
    assert await source.read() == ([1], 1)


@pytest.mark.parametrize("first", [1, 0])
async def test_a_report_that_another_conductor_stored_in_between_is_not_missed(source: _Source, first: int) -> None:
    """The word of it was lost: the number of the next one tells."""
    source.told.begin()
    if first:
        source.told.note(await source.store(1))
    await source.store(first + 1)
    source.told.note(await source.store(first + 2))
    assert await source.read() == ([*range(1, first + 3)], 1)


async def test_a_doubled_report_is_known_once(source: _Source) -> None:
    source.told.begin()
    report = await source.store(1)
    source.told.note(report)
    source.told.note(report)
    assert await source.read() == ([1], 1)


async def test_what_was_stored_while_it_was_read_is_not_missed(harness: harnesses.Harness, source: _Source) -> None:
    """The answer of the database is of the moment before it: it is given, and not kept."""

    class Store(stores.Store):
        async def look(self, unit: stores.Unit[stores.T]) -> stores.T:
            found = await super().look(unit)
            source.told.note(await source.store(1))
            return found

    assert list(await source.told.read(Store(harness.engine, harness.config, harness.clock))) == []
    assert await source.read() == ([1], 1)
