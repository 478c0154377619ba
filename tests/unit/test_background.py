# SPDX-License-Identifier: Apache-2.0
"""What runs in the background is neither lost nor silent, and a loop outlives whatever error it meets."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from wherry import background, errors
from wherry.clock import LoopClock


@pytest.mark.parametrize("error", [errors.DatabaseUnavailable(detail="gone"), KeyError("unforeseen")])
async def test_a_loop_goes_on_after_an_error_and_tells_of_it(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    rounds = 0
    third = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise error
        if rounds == 3:
            third.set()

    with caplog.at_level(logging.WARNING):
        loop = asyncio.create_task(background.repeat(work, "The work", every_seconds=0.001, clock=LoopClock()))
        async with asyncio.timeout(10):
            await third.wait()
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
    assert len([record for record in caplog.records if "The work failed and is tried again." in record.getMessage()]) == 1


async def test_a_task_that_nobody_awaits_is_logged_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise KeyError("unforeseen")

    tasks = background.Background()
    with caplog.at_level(logging.WARNING):
        await asyncio.wait([tasks.spawn(fail(), "told")])
        await asyncio.wait([tasks.spawn(fail(), "awaited", is_awaited=True)])
        await asyncio.sleep(0)
    assert "A task in the background failed: told." in caplog.text
    assert "awaited" not in caplog.text


async def test_stopping_ends_what_still_runs() -> None:
    tasks = background.Background()
    task = tasks.spawn(asyncio.Event().wait(), "for ever")
    await tasks.stop()
    assert task.cancelled()


async def test_a_wake_ends_a_pause_and_is_spent_by_it() -> None:
    wake = asyncio.Event()
    wake.set()
    assert await background.wait_for_wake(wake, 60.0)
    assert not await background.wait_for_wake(wake, 0.001)
