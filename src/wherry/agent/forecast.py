# SPDX-License-Identifier: Apache-2.0
"""How long the rest of one transfer would take if its guest stopped now: a range, since part of what is dirtied is not counted yet.

A hypervisor counts what its guest dirties at the end of each pass over the memory. Until the first one ends it knows nothing of it
(QEMU 7.2 gives a dirty rate of 0 there), and a page that was dirtied is sent again even if it had not been sent before. Decides nothing.
"""

from __future__ import annotations

from wherry import clock as wherry_clock
from wherry.model import progress

_MIB = 1 << 20


class Forecast:
    """What the looks at one transfer tell. Every look must be noted."""

    def __init__(self, clock: wherry_clock.Clock) -> None:
        self._clock = clock
        self._sent_bytes: int | None = None
        #: When bytes were last seen to move; None until two looks showed it.
        self.moved_at: float | None = None
        self._iteration: int | None = None
        #: When the pass began; None where it began before the first look.
        self._pass_began: float | None = None

    def note(self, counters: progress.Progress) -> None:
        """Take up one look's counters."""
        now = self._clock.monotonic()
        if self._sent_bytes is not None and counters.processed_bytes > self._sent_bytes:
            self.moved_at = now
        self._sent_bytes = counters.processed_bytes
        if counters.iteration != self._iteration:
            self._pass_began = now if self._iteration is not None else None
            self._iteration = counters.iteration

    def pause_seconds(self, counters: progress.Progress | None) -> tuple[float, float] | None:
        """Give how long a pause would send, from to: what remains, then what was dirtied since the last count. None: bandwidth unknown."""
        if counters is None or counters.memory_bytes_per_second <= 0:
            return None
        low = counters.remaining_bytes
        return low / counters.memory_bytes_per_second, (low + self._uncounted_bytes(counters)) / counters.memory_bytes_per_second

    def post_copy_seconds(self, counters: progress.Progress) -> float | None:
        """Give how long post-copy would take at most: a switch counts what is dirty first, and sends each page once."""
        if counters.memory_bytes_per_second <= 0:
            return None
        memory = min(counters.memory_total_bytes, counters.memory_remaining_bytes + self._uncounted_bytes(counters))
        return (max(memory, counters.memory_remaining_bytes) + counters.disk_remaining_bytes) / counters.memory_bytes_per_second

    def words(self, counters: progress.Progress) -> str:
        """Tell the numbers."""
        text = f"{counters.remaining_bytes / _MIB:.0f} MiB remain at {counters.memory_bytes_per_second / _MIB:.1f} MiB/s"
        if _is_dirtying_known(counters):
            text += f" against {counters.dirty_bytes_per_second / _MIB:.1f} MiB/s dirtied"
        else:
            text += ", dirtied: not known before the first pass ends"
        pause = self.pause_seconds(counters)
        if pause is None:
            return text
        low, high = (f"{seconds:.1f}" for seconds in pause)
        return f"{text}, which a pause of {low if low == high else f'{low} to {high}'} s would send"

    def _uncounted_bytes(self, counters: progress.Progress) -> int:
        """Give how much may have been dirtied since it was last counted: all of the memory, where nothing is known of it."""
        total = counters.memory_total_bytes
        if not _is_dirtying_known(counters) or self._pass_began is None:
            return total
        return min(total, int(counters.dirty_bytes_per_second * (self._clock.monotonic() - self._pass_began)))


def _is_dirtying_known(counters: progress.Progress) -> bool:
    return counters.iteration > 1 or counters.dirty_bytes_per_second > 0
