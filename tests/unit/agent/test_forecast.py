# SPDX-License-Identifier: Apache-2.0
"""What the rest of a transfer takes, from what is counted and what cannot be yet."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.agent import rig as rigs
from wherry.agent import forecast
from wherry.model import progress

pytestmark = [pytest.mark.unit, pytest.mark.virtual_time]

_MIB = 1 << 20


def _counters(iteration: int, *, remaining: int = 40, dirtied: int = 0, disk: int = 0, sent: int = 60) -> progress.Progress:
    return progress.Progress(
        memory_total_bytes=100 * _MIB,
        memory_processed_bytes=sent * _MIB,
        memory_remaining_bytes=remaining * _MIB,
        disk_remaining_bytes=disk * _MIB,
        iteration=iteration,
        dirty_bytes_per_second=dirtied * _MIB,
        memory_bytes_per_second=10 * _MIB,
    )


async def test_in_the_first_pass_all_may_have_been_dirtied(rig: rigs.Rig) -> None:
    made = forecast.Forecast(rig.clock)
    made.note(first := _counters(1, disk=10))
    assert (made.pause_seconds(first), made.post_copy_seconds(first)) == ((5.0, 15.0), 11.0)
    assert (
        made.words(first)
        == "50 MiB remain at 10.0 MiB/s, dirtied: not known before the first pass ends, which a pause of 5.0 to 15.0 s would send"
    )


async def test_later_it_is_what_was_dirtied_since_the_pass_began(rig: rigs.Rig) -> None:
    made = forecast.Forecast(rig.clock)
    made.note(_counters(1))
    made.note(begun := _counters(2, dirtied=4))
    assert made.pause_seconds(begun) == (4.0, 4.0)
    assert made.words(begun) == "40 MiB remain at 10.0 MiB/s against 4.0 MiB/s dirtied, which a pause of 4.0 s would send"
    await asyncio.sleep(5)
    made.note(later := _counters(2, remaining=10, dirtied=4))
    assert (made.pause_seconds(later), made.post_copy_seconds(later)) == ((1.0, 3.0), 3.0)
    await asyncio.sleep(1000)
    assert made.pause_seconds(later) == (1.0, 11.0), "no more than there is"


async def test_a_pass_that_began_before_the_first_look_may_have_dirtied_all(rig: rigs.Rig) -> None:
    made = forecast.Forecast(rig.clock)
    made.note(found := _counters(7, dirtied=4))
    assert made.pause_seconds(found) == (4.0, 14.0)


async def test_without_a_bandwidth_nothing_is_foreseen(rig: rigs.Rig) -> None:
    made = forecast.Forecast(rig.clock)
    unknown = progress.Progress(memory_total_bytes=_MIB, memory_remaining_bytes=_MIB, iteration=1)
    made.note(unknown)
    assert (made.pause_seconds(unknown), made.post_copy_seconds(unknown), made.pause_seconds(None)) == (None, None, None)
    assert "a pause" not in made.words(unknown)


async def test_movement_is_seen_by_two_looks(rig: rigs.Rig) -> None:
    made = forecast.Forecast(rig.clock)
    made.note(_counters(1, sent=1))
    assert made.moved_at is None
    await asyncio.sleep(1)
    made.note(_counters(1, sent=2))
    seen = rig.clock.monotonic()
    await asyncio.sleep(1)
    made.note(_counters(1, sent=2))
    assert made.moved_at == seen
