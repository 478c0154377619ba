# SPDX-License-Identifier: Apache-2.0
"""The virtual-time loop: what asyncio promises holds on it, and waiting for nothing is an error."""

from __future__ import annotations

import asyncio
import datetime
import time

import pytest

from wherry.testing import virtual_time


def test_a_year_of_sleep_takes_no_time_and_lasts_a_year() -> None:
    clock = virtual_time.virtual_clock()

    async def sleep() -> tuple[float, datetime.timedelta]:
        before = clock.now()
        await clock.sleep(365 * 86400)
        return clock.monotonic(), clock.now() - before

    began = time.perf_counter()
    seconds, elapsed = virtual_time.run_virtual(sleep())
    assert time.perf_counter() - began < 5
    assert seconds == 365 * 86400
    assert elapsed == datetime.timedelta(days=365)


def test_timers_come_in_order_and_at_their_times() -> None:
    async def run() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[str, float]] = []

        def note(name: str) -> None:
            seen.append((name, loop.time()))

        for name, delay in (("late", 2.5), ("early", 0.5), ("middle", 1.0)):
            loop.call_later(delay, note, name)
        await asyncio.sleep(3)
        return seen

    assert virtual_time.run_virtual(run()) == [("early", 0.5), ("middle", 1.0), ("late", 2.5)]


def test_time_outs_queues_and_groups_work() -> None:
    async def run() -> list[object]:
        loop = asyncio.get_running_loop()
        seen: list[object] = []
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def produce() -> None:
            for number in range(3):
                await asyncio.sleep(1)
                await queue.put(number)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        seen.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await loop.create_future()
        seen.append(loop.time())
        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            seen += [await queue.get() for _ in range(3)]
        seen.append(loop.time())
        return seen

    assert virtual_time.run_virtual(run()) == [5.0, 7.0, 0, 1, 2, 10.0]


def test_work_that_is_ready_goes_before_time() -> None:
    async def run() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        loop.call_later(0.001, order.append, "timer")
        for _ in range(1000):
            await asyncio.sleep(0)
        order.append("work")
        await asyncio.sleep(0.01)
        return order

    assert virtual_time.run_virtual(run()) == ["work", "timer"]


def test_waiting_for_what_cannot_happen_is_a_deadlock_that_names_the_waiting() -> None:
    async def forgotten_wait() -> None:
        await asyncio.sleep(1)
        await asyncio.Event().wait()

    with pytest.raises(virtual_time.Deadlock, match="at 1 s") as caught:
        virtual_time.run_virtual(forgotten_wait())
    assert "forgotten_wait" in str(caught.value)


def test_a_run_over_its_limit_is_given_up() -> None:
    async def beat() -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(1)

    with pytest.raises(virtual_time.TimeLimitExceeded, match="10 s"):
        virtual_time.run_virtual(beat(), limit_seconds=10)


def test_threads_are_refused() -> None:
    async def run() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no threads"):
        virtual_time.run_virtual(run())


def test_left_over_tasks_are_cancelled() -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append("cancelled")

    async def run() -> None:
        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        assert not task.done()

    virtual_time.run_virtual(run())
    assert ended == ["cancelled"]


def test_timers_are_reached_however_late_it_is() -> None:
    """A float of many years holds no nanosecond: a timer must count as due all the same."""

    async def run() -> int:
        await asyncio.sleep(1e9 + 0.1)
        for _ in range(1000):
            await asyncio.sleep(0.1)
            await asyncio.sleep(1e-9)
        return round(asyncio.get_running_loop().time())

    assert virtual_time.run_virtual(run()) == 1_000_000_100
