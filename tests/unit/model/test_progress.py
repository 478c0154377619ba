# SPDX-License-Identifier: Apache-2.0
"""Percentage, smoothed bandwidth and time left, from what hypervisors count."""

from __future__ import annotations

import dataclasses
import functools

import hypothesis
import hypothesis.strategies as st
import pytest

from wherry.model import progress

_SEEN = st.builds(
    progress.Progress,
    memory_total_bytes=st.integers(0, 10_000),
    memory_processed_bytes=st.integers(0, 100_000),
    memory_remaining_bytes=st.integers(0, 20_000),
    disk_total_bytes=st.integers(0, 10_000),
    disk_remaining_bytes=st.integers(0, 10_000),
    memory_bytes_per_second=st.integers(0, 1000),
    elapsed_ms=st.integers(0, 100_000),
)


def _at(elapsed_ms: int, processed: int, remaining: int = 500, **more: int) -> progress.Progress:
    return progress.Progress(
        memory_total_bytes=1000, memory_processed_bytes=processed, memory_remaining_bytes=remaining, elapsed_ms=elapsed_ms, **more
    )


@hypothesis.given(st.lists(_SEEN, min_size=2, max_size=12))
def test_the_percentage_never_falls_and_is_never_100_before_the_end(looks: list[progress.Progress]) -> None:
    """Whatever the counters do, in whatever order they come, with whatever nonsense in them."""
    kept: list[progress.Progress] = []
    for seen in looks:
        kept.append(progress.following(kept[-1] if kept else None, seen))
    percentages = [one.percentage for one in kept]
    assert percentages == sorted(percentages)
    assert all(0 <= one <= 99 for one in percentages)
    assert all(one.bytes_per_second >= 0 for one in kept)


@hypothesis.given(_SEEN, st.booleans(), st.none() | st.floats(-100, 1000))
def test_the_range_is_a_range(seen: progress.Progress, is_post_copy: bool, deadline: float | None) -> None:
    left = progress.time_left(progress.following(None, seen), is_post_copy=is_post_copy, deadline_seconds=deadline)
    assert left is None or (left.low_seconds >= 0 and (left.high_seconds is None or left.high_seconds >= left.low_seconds))


def test_a_burst_moves_the_bandwidth_a_little_and_a_lasting_change_all_the_way() -> None:
    steady = functools.reduce(progress.following, (_at(second * 1000, second * 100) for second in range(1, 60)), None)
    assert steady is not None
    assert steady.bytes_per_second == pytest.approx(100, abs=1)
    burst = progress.following(steady, _at(60_000, 5900 + 1000))
    assert 100 < burst.bytes_per_second < 200
    lasting = functools.reduce(progress.following, (_at(60_000 + n * 1000, 6900 + n * 1000) for n in range(1, 90)), burst)
    assert lasting is not None
    assert lasting.bytes_per_second == pytest.approx(1000, rel=0.02)


def test_late_counters_change_nothing_and_the_measured_pause_stays() -> None:
    known = progress.following(None, _at(10_000, 1000, 300, downtime_ms=42))
    assert progress.following(known, _at(5000, 500, 100)) == known
    assert progress.following(known, _at(11_000, 1100, 0)).downtime_ms == 42


def test_the_time_left_is_told_from_low_to_high() -> None:
    base = _at(10_000, 1000, 600, iteration=2, dirty_bytes_per_second=20)
    base = progress.following(None, base)
    assert base.bytes_per_second == 100
    left = progress.time_left(base, is_post_copy=False)
    assert left == progress.TimeLeft(low_seconds=4, high_seconds=10)
    fast = dataclasses.replace(base, dirty_bytes_per_second=95)
    hopeless = progress.time_left(fast, is_post_copy=False)
    assert hopeless == progress.TimeLeft(low_seconds=4, high_seconds=None)
    bounded = progress.time_left(fast, is_post_copy=False, deadline_seconds=30)
    assert bounded == progress.TimeLeft(low_seconds=4, high_seconds=38)
    assert progress.time_left(fast, is_post_copy=True) == progress.TimeLeft(low_seconds=4, high_seconds=8)
    assert progress.time_left(progress.Progress(memory_total_bytes=10, memory_remaining_bytes=10), is_post_copy=False) is None
    first = dataclasses.replace(base, iteration=1)
    assert progress.time_left(first, is_post_copy=False) == progress.TimeLeft(low_seconds=0, high_seconds=10)
