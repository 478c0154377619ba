# SPDX-License-Identifier: Apache-2.0
"""A process whose machine's clock is wrong goes by PostgreSQL's; one whose clock is right, or set right, goes by its own."""

from __future__ import annotations

import datetime

import pytest

from wherry import clock as clocks
from wherry.cmd import timekeeping
from wherry.config import database as config_database
from wherry.db import store as stores

pytestmark = pytest.mark.postgres


class _Machine(clocks.LoopClock):
    """A machine whose clock is off by so much."""

    off = datetime.timedelta(0)

    def now(self) -> datetime.datetime:
        return super().now() + self.off


def _wrong_by(clock: clocks.Clock) -> float:
    return abs((clock.now() - datetime.datetime.now(datetime.UTC)).total_seconds())


async def test_a_wrong_clock_is_replaced_until_it_is_set_right(config: config_database.DatabaseSection) -> None:
    machine = _Machine()
    clock = clocks.SetClock(machine)
    store = await stores.Store.open(config, clock)
    keeper = timekeeping.Timekeeper(store=store, clock=clock, section=config)
    for minutes in (0, 60, -60, 0):
        machine.off = datetime.timedelta(minutes=minutes)
        await keeper.compare()
        assert _wrong_by(clock) < 2
        assert abs(clock.ahead + machine.off) < datetime.timedelta(seconds=2)
        await keeper.compare()
        assert _wrong_by(clock) < 2
    assert clock.ahead == datetime.timedelta(0)
    # Within the tolerance it is the machine's own.
    machine.off = datetime.timedelta(seconds=1)
    await keeper.compare()
    assert clock.ahead == datetime.timedelta(0)
    await store.close()


async def test_a_database_without_a_clock_of_its_own_has_no_other_time() -> None:
    machine = _Machine()
    machine.off = datetime.timedelta(hours=1)
    store = await stores.Store.open(config_database.DatabaseSection(connection="sqlite:///:memory:"), machine)
    assert abs(await store.clock_difference()) < datetime.timedelta(seconds=1)
    await store.close()
