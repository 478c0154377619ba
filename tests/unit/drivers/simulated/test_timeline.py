# SPDX-License-Identifier: Apache-2.0
"""Simulated time: order, cancellation, and one timer for everything."""

from __future__ import annotations

import asyncio

import pytest

from wherry.drivers.simulated import timeline
from wherry.testing import virtual_time


def test_entries_come_at_their_times_in_the_order_they_were_set() -> None:
    async def run() -> list[tuple[str, float]]:
        time = timeline.Timeline(virtual_time.virtual_clock())
        seen: list[tuple[str, float]] = []

        def note(name: str) -> None:
            seen.append((name, time.now()))

        def set_another() -> None:
            time.after(0.5, lambda: note("set by another"))

        time.at(2, lambda: note("before the start"))
        time.start()
        time.after(5, lambda: note("late"))
        time.after(1, lambda: note("first of two"))
        time.after(1, lambda: note("second of two"))
        time.after(3, lambda: note("cancelled")).cancel()
        time.after(4, set_another)
        await asyncio.sleep(10)
        return seen

    assert virtual_time.run_virtual(run()) == [
        ("first of two", 1.0),
        ("second of two", 1.0),
        ("before the start", 2.0),
        ("set by another", 4.5),
        ("late", 5.0),
    ]


def test_whoever_asks_late_finds_everything_done_that_was_due() -> None:
    """A loop that is busy fires timers late; a question must not see the past."""

    class Late:
        """A clock that jumps while the loop is busy."""

        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    async def run() -> None:
        clock = Late()
        time = timeline.Timeline(clock)  # type: ignore[arg-type]  # only its monotonic() is asked
        time.start()
        times: list[float] = []
        time.at(1.5, lambda: times.append(time.now()))
        clock.seconds = 4.0
        assert time.now() == 4.0
        assert times == [1.5], "it happened at its own time"

    virtual_time.run_virtual(run())


def test_cancelled_entries_do_not_pile_up() -> None:
    async def run() -> int:
        time = timeline.Timeline(virtual_time.virtual_clock())
        time.start()
        for _ in range(50_000):
            time.at(1_000.0, lambda: None).cancel()
        return len(time._queue)

    assert virtual_time.run_virtual(run()) < 5_000


def test_before_the_start_there_is_no_time() -> None:
    time = timeline.Timeline(virtual_time.virtual_clock())
    assert time.now() == 0.0
    time.at(1.0, lambda: pytest.fail("time has not begun"))
    assert time.now() == 0.0
