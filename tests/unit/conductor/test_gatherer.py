# SPDX-License-Identifier: Apache-2.0
"""Many questions, few answers: who asks at the same time is answered together, and each gets what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from wherry.conductor import gatherer


class Halves:
    """Halves numbers; remembers which came together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def work(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.was_asked.set()
        await self.may_answer.wait()
        if 13 in numbers:
            raise OverflowError(13)
        return [number // 2 if number % 2 == 0 else ValueError(number) for number in numbers]


async def test_what_comes_while_one_batch_is_worked_on_is_the_next() -> None:
    halves = Halves()
    gathers = gatherer.Gatherer("halves", halves.work)
    first = asyncio.create_task(gathers.ask(2))
    await halves.was_asked.wait()
    later = [asyncio.create_task(gathers.ask(number)) for number in (4, 6, 4)]
    await asyncio.sleep(0)
    halves.may_answer.set()
    assert await asyncio.gather(first, *later) == [1, 2, 3, 2]
    assert halves.batches == [[2], [4, 6, 4]]


async def test_one_batch_fills_during_the_pause() -> None:
    halves, is_full = Halves(), asyncio.Event()
    halves.may_answer.set()
    gathers = gatherer.Gatherer("halves", halves.work, is_full.wait)
    first = asyncio.create_task(gathers.ask(2))
    await asyncio.sleep(0)
    second = asyncio.create_task(gathers.ask(4))
    await asyncio.sleep(0)
    assert halves.batches == []
    is_full.set()
    assert [await first, await second] == [1, 2]
    assert halves.batches == [[2, 4]]


async def test_an_error_is_told_to_those_whom_it_concerns() -> None:
    halves = Halves()
    halves.may_answer.set()
    gathers = gatherer.Gatherer("halves", halves.work)
    own = await asyncio.gather(gathers.ask(1), gathers.ask(2), return_exceptions=True)
    assert [repr(one) for one in own] == ["ValueError(1)", "1"]
    everybodys = await asyncio.gather(gathers.ask(13), gathers.ask(2), return_exceptions=True)
    assert [repr(one) for one in everybodys] == ["OverflowError(13)"] * 2
    assert await gathers.ask(8) == 4


async def test_nobody_waits_any_more_once_it_is_stopped() -> None:
    halves = Halves()
    gathers = gatherer.Gatherer("halves", halves.work)
    asked = [asyncio.create_task(gathers.ask(2))]
    await halves.was_asked.wait()
    asked.append(asyncio.create_task(gathers.ask(4)))
    await asyncio.sleep(0)
    await gathers.stop()
    for one in asked:
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await one
    assert halves.batches == [[2]]
