# SPDX-License-Identifier: Apache-2.0
"""Counters of a transfer, and the arithmetic on them. Reads no hypervisor."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Counters of one transfer at one moment, as the hypervisor gives them."""

    memory_total_bytes: int = 0
    #: Bytes sent so far; may exceed the total, since dirtied pages are sent again.
    memory_processed_bytes: int = 0
    #: Bytes not yet on the destination; never negative, may grow.
    memory_remaining_bytes: int = 0
    disk_total_bytes: int = 0
    disk_processed_bytes: int = 0
    disk_remaining_bytes: int = 0
    #: Passes over the memory, the first being 1; 0 where unknown.
    iteration: int = 0
    #: Bytes dirtied a second, as measured in the last pass; 0 where unknown.
    dirty_bytes_per_second: int = 0
    #: Bytes of memory sent a second, as the hypervisor gives it; 0 where unknown.
    memory_bytes_per_second: int = 0
    #: Milliseconds that a switch-over now is expected to pause the guest; None where unknown.
    expected_downtime_ms: int | None = None
    #: Milliseconds that the guest really stood still: for its switch-over, and since it was paused to force it; None before the end.
    downtime_ms: int | None = None
    #: Milliseconds since the transfer started, by the hypervisor's count.
    elapsed_ms: int = 0
    #: Share of memory and disks that is there, in percent; the highest seen, so that it never falls. 100 is the migration's end only.
    percentage: int = 0
    #: Bytes of memory and disks sent a second, smoothed over the last seconds; 0 where unknown.
    bytes_per_second: int = 0

    @property
    def total_bytes(self) -> int:
        """What there is to send."""
        return self.memory_total_bytes + self.disk_total_bytes

    @property
    def remaining_bytes(self) -> int:
        """What is still to send."""
        return self.memory_remaining_bytes + self.disk_remaining_bytes

    @property
    def processed_bytes(self) -> int:
        """What was sent, what was dirtied again counted again."""
        return self.memory_processed_bytes + self.disk_processed_bytes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeLeft:
    """Seconds until the copy ends, as a range."""

    low_seconds: int
    #: None: nothing says that it ever ends.
    high_seconds: int | None


def memory_percentage(progress: Progress) -> int:
    """Give Nova's progress: the share of memory that is not remaining, 0 to 100, disks left aside."""
    if progress.memory_total_bytes <= 0:
        return 0
    share = 100 - progress.memory_remaining_bytes * 100 // progress.memory_total_bytes
    return max(0, min(100, share))


#: Seconds over which the bandwidth is smoothed.
_SMOOTHING_SECONDS = 15.0
#: How far the bandwidth may be from what it will be, for the ends of the range.
_FASTER, _SLOWER = 1.25, 0.75
#: Share of the bandwidth from which on a guest is thought to dirty too fast to say when its copy ends.
_HOPELESS = 0.9
#: Before the end nothing is complete, however little remains.
_MOST_BEFORE_THE_END = 99


def following(before: Progress | None, seen: Progress) -> Progress:
    """Give the counters to keep after these were seen: with the smoothed bandwidth, and the highest percentage so far.

    Counters that are older than those before, as late messages bring them, change nothing.
    """
    if before is not None and 0 < seen.elapsed_ms < before.elapsed_ms:
        return before
    known = before or Progress()
    return dataclasses.replace(
        seen,
        percentage=max(known.percentage, _share(seen)),
        bytes_per_second=_smoothed(known, seen),
        downtime_ms=known.downtime_ms if seen.downtime_ms is None else seen.downtime_ms,
    )


def time_left(counters: Progress, *, is_post_copy: bool, deadline_seconds: float | None = None) -> TimeLeft | None:
    """Estimate how long the copy still takes; None where nothing is known of the bandwidth.

    :param deadline_seconds: seconds until its deadline ends it one way or another; None = it has none.
    """
    bandwidth = counters.bytes_per_second or counters.memory_bytes_per_second
    if bandwidth <= 0:
        return None
    remaining = counters.remaining_bytes
    # In the first pass everything that remains may be pages of zeros, which take no time.
    low = remaining / (bandwidth * _FASTER) if counters.iteration > 1 else 0.0
    dirtied = 0 if is_post_copy else counters.dirty_bytes_per_second
    # What is dirtied while the rest is sent is sent again: a row that converges while less is dirtied than sent.
    high = remaining / (bandwidth - dirtied) / _SLOWER if dirtied < bandwidth * _HOPELESS else None
    if deadline_seconds is not None and not is_post_copy:
        # Forced to complete, it sends the rest once more without anything being dirtied.
        bound = max(0.0, deadline_seconds) + remaining / bandwidth / _SLOWER
        high = bound if high is None else min(high, bound)
    return TimeLeft(low_seconds=int(low), high_seconds=None if high is None else max(int(low), math.ceil(high)))


def _share(counters: Progress) -> int:
    if counters.total_bytes <= 0:
        return 0
    share = 100 - math.ceil(counters.remaining_bytes * 100 / counters.total_bytes)
    return max(0, min(_MOST_BEFORE_THE_END, share))


def _smoothed(before: Progress, seen: Progress) -> int:
    seconds = (seen.elapsed_ms - before.elapsed_ms) / 1000
    sent = seen.processed_bytes - before.processed_bytes
    if seconds <= 0 or sent < 0:
        return before.bytes_per_second or seen.memory_bytes_per_second
    measured = sent / seconds
    if before.bytes_per_second <= 0:
        return int(measured)
    weight = 1 - math.exp(-seconds / _SMOOTHING_SECONDS)
    return int(before.bytes_per_second * (1 - weight) + measured * weight)
