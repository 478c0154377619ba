# SPDX-License-Identifier: Apache-2.0
"""A pause of a few femtoseconds, left over from subtracting times, was asked for again and again: the clock did not pass it."""

from __future__ import annotations

import asyncio

import pytest

from wherry.conductor import drive, orchestrator

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_time_goes_on() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(38.0)
    task = asyncio.ensure_future(asyncio.sleep(0))
    journey = orchestrator._Journey(task=task, alarm=asyncio.Event(), has_news=False, checks=loop.create_future())
    began = loop.time()
    await orchestrator._pause(journey, drive.Wait(seconds=3.6e-15, why="a silent host may only seem so"))
    assert loop.time() > began
