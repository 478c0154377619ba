# SPDX-License-Identifier: Apache-2.0
"""Lanes: bounded, one call at a time, and a late call costs its caller nothing but the wait."""

from __future__ import annotations

import asyncio
import queue
import threading

import pytest

from wherry.drivers.libvirt import workers

pytestmark = [pytest.mark.unit]


def _lanes(limit: int) -> workers.Lanes[str]:
    return workers.Lanes("test", limit, lambda _resource: None)


async def test_results_and_errors_come_back_from_a_daemon_thread() -> None:
    lanes = _lanes(1)
    async with lanes.lent(1) as lane:
        thread = await lane.run(lambda _lane: threading.current_thread(), 1)
        assert thread.daemon and thread is not threading.main_thread()
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda _lane: 1 // 0, 1)
        assert await lane.run(lambda _lane: 7, 1) == 7
    await lanes.close(1)


async def test_a_late_call_is_given_up_and_its_thread_is_lent_again_when_it_ends() -> None:
    lanes = _lanes(1)
    release = threading.Event()
    with pytest.raises(workers.LateAnswer):
        async with lanes.lent(1) as lane:
            await lane.run(lambda _lane: release.wait(10), 0.01)
    with pytest.raises(workers.LateAnswer):
        await lanes.acquire(0.01)
    waiting = asyncio.create_task(lanes.acquire(5))
    release.set()
    again = await waiting
    assert await again.run(lambda _lane: "answers", 1) == "answers"
    assert lanes.count == 1
    lanes.release(again)
    await lanes.close(1)


async def test_a_cancelled_caller_frees_its_lane_when_the_call_ends() -> None:
    lanes = _lanes(1)
    release, begun = threading.Event(), threading.Event()

    def hang(_lane: workers.Lane[str]) -> None:
        begun.set()
        release.wait(10)

    async def call() -> None:
        async with lanes.lent(1) as lane:
            await lane.run(hang, None)

    task = asyncio.create_task(call())
    assert await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    lanes.release(await lanes.acquire(5))
    await lanes.close(1)


async def test_no_more_threads_than_the_limit_and_the_used_lane_comes_first() -> None:
    lanes = _lanes(2)
    first, second = await lanes.acquire(0), await lanes.acquire(0)
    with pytest.raises(workers.LateAnswer):
        await lanes.acquire(0)
    lanes.release(first)
    lanes.release(second)
    assert await lanes.acquire(0) is second
    assert lanes.count == 2
    await lanes.close(1)


async def test_closing_disposes_in_the_lane_and_does_not_wait_for_a_call_that_hangs() -> None:
    disposed: queue.Queue[str] = queue.Queue()
    lanes: workers.Lanes[str] = workers.Lanes("test", 2, disposed.put)
    release = threading.Event()
    idle, busy = await lanes.acquire(0), await lanes.acquire(0)

    def keep(lane: workers.Lane[str]) -> None:
        lane.resource = "idle's" if lane is idle else "busy's"

    for lane in (idle, busy):
        await lane.run(keep, 1)
    hanging = asyncio.create_task(busy.run(lambda _lane: release.wait(10), None))
    await asyncio.sleep(0)
    lanes.release(idle)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await lanes.close(0.5)
    assert loop.time() - began < 0.5
    assert disposed.get_nowait() == "idle's" and disposed.empty()
    release.set()
    await hanging
    assert await asyncio.to_thread(disposed.get, timeout=5) == "busy's"
