# SPDX-License-Identifier: Apache-2.0
"""Who is checked when: in the order of asking, once, few at a time where the loop is busy, and one after an error goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs
from wherry.conductor import intake as intakes


class _SlowTurns(clocks.LoopClock):
    """A clock on which each look takes this long: each turn of the loop seems to."""

    def __init__(self) -> None:
        super().__init__()
        self.turn_seconds = 0.0
        self._time = 0.0

    def monotonic(self) -> float:
        self._time += self.turn_seconds
        return self._time


class _Checks:
    """Checks that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.most = 0

    async def run(self, operation_id: str) -> None:
        self.begun.append(operation_id)
        self.running[operation_id] = asyncio.Event()
        self.most = max(self.most, len(self.running))
        await self.running[operation_id].wait()
        del self.running[operation_id]
        if operation_id == "broken":
            raise RuntimeError("nobody foresaw this")

    async def end(self, operation_id: str) -> None:
        self.running[operation_id].set()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def background() -> AsyncIterator[backgrounds.Background]:
    made = backgrounds.Background()
    yield made
    await made.stop()


def _made(background: backgrounds.Background, checks: _Checks, clock: clocks.Clock | None = None, **options: Any) -> intakes.Intake:
    section = configs.ConductorSection(**options)
    whole = configs.Config(conductor=section)
    return intakes.Intake(check=checks.run, clock=clock or clocks.LoopClock(), config=lambda: whole, background=background)


async def test_checks_begin_in_order_and_no_more_than_configured_at_a_time(background: backgrounds.Background) -> None:
    checks = _Checks()
    intake = _made(background, checks, max_concurrent_checks=2)
    for number in range(5):
        intake.add(f"op-{number}")
    await asyncio.sleep(0)
    assert checks.begun == ["op-0", "op-1"] and "op-4" in intake
    for number in range(5):
        await checks.end(f"op-{number}")
    assert checks.begun == [f"op-{number}" for number in range(5)]
    assert checks.most == 2
    assert "op-4" not in intake


async def test_held_ones_begin_once_the_configuration_lets_them(background: backgrounds.Background) -> None:
    checks = _Checks()
    most = [0]
    intake = intakes.Intake(
        check=checks.run,
        clock=clocks.LoopClock(),
        config=lambda: configs.Config(conductor=configs.ConductorSection(max_concurrent_checks=most[0])),
        background=background,
    )
    intake.add("a")
    intake.add("b")
    await asyncio.sleep(0)
    assert checks.begun == [] and "a" in intake
    most[0] = 1
    intake.resume()
    await asyncio.sleep(0)
    assert checks.begun == ["a"]


async def test_one_that_waits_or_is_checked_is_not_checked_twice_but_may_be_later(background: backgrounds.Background) -> None:
    checks = _Checks()
    intake = _made(background, checks, max_concurrent_checks=1)
    for operation_id in ("a", "a", "b", "b"):
        intake.add(operation_id)
    await asyncio.sleep(0)
    await checks.end("a")
    intake.add("a")
    await checks.end("b")
    assert checks.begun == ["a", "b", "a"]


async def test_a_check_that_breaks_lets_the_next_one_begin(background: backgrounds.Background) -> None:
    checks = _Checks()
    intake = _made(background, checks, max_concurrent_checks=1)
    intake.add("broken")
    intake.add("next")
    await asyncio.sleep(0)
    await checks.end("broken")
    assert checks.begun == ["broken", "next"]


async def test_a_busy_loop_checks_few_at_a_time_and_a_quiet_one_more_and_more(background: backgrounds.Background) -> None:
    checks, clock = _Checks(), _SlowTurns()
    intake = _made(background, checks, clock, busy_turn_seconds=0.02)
    for number in range(200):
        intake.add(f"op-{number}")
    await asyncio.sleep(0)
    at_first = len(checks.running)
    clock.turn_seconds = 0.001
    for _ in range(30):
        await checks.end(next(iter(checks.running)))
    assert len(checks.running) == at_first + 30
    clock.turn_seconds = 0.03
    while len(checks.running) > at_first:
        await checks.end(next(iter(checks.running)))
    begun = len(checks.begun)
    for _ in range(10):
        await checks.end(next(iter(checks.running)))
    # It goes on with as few as at first.
    assert len(checks.begun) == begun + 10 and len(checks.running) == at_first
