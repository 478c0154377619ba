# SPDX-License-Identifier: Apache-2.0
"""Simulated time: a queue of things to come, behind one timer of the event loop.

Idle, it costs nothing: no task and no tick. Knows nothing of what happens at those times.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable

from wherry import clock as wherry_clock

#: Times that lie closer together than this many seconds are the same time: sums of floats do not meet exactly.
_SAME = 1e-9
#: Entries set between two clearances of those that were cancelled.
_CLEAR_EVERY = 4096


class Entry:
    """One thing to come; `cancel` takes it back."""

    __slots__ = ("action", "at_seconds", "number")

    def __init__(self, at_seconds: float, number: int, action: Callable[[], None]) -> None:
        self.at_seconds = at_seconds
        self.number = number
        self.action: Callable[[], None] | None = action

    def __lt__(self, other: Entry) -> bool:
        # Of two at the same time the one set first comes first, so that every run has the same order.
        return (self.at_seconds, self.number) < (other.at_seconds, other.number)

    def cancel(self) -> None:
        """Let it not happen."""
        self.action = None


class Timeline:
    """Time of a world, in seconds since its start, `factor` of them in each second of the clock."""

    def __init__(self, clock: wherry_clock.Clock, factor: float = 1.0) -> None:
        self._clock = clock
        self.factor = factor
        self._zero: float | None = None
        self._now = 0.0
        self._queue: list[Entry] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_firing = False

    def start(self) -> None:
        """Let time begin; called again, nothing. Needs a running event loop."""
        if self._zero is None:
            self._zero = self._clock.monotonic()
            self._arm()

    def now(self) -> float:
        """Give the time, after everything due by now has happened."""
        if self._zero is not None and not self._is_firing:
            self._catch_up()
        return self._now

    def at(self, at_seconds: float, action: Callable[[], None]) -> Entry:
        """Have `action` called at that time, or as soon as time has begun and passed it."""
        entry = Entry(at_seconds, next(self._numbers), action)
        heapq.heappush(self._queue, entry)
        if entry.number % _CLEAR_EVERY == 0:
            self._queue[:] = [waiting for waiting in self._queue if waiting.action is not None]
            heapq.heapify(self._queue)
        if not self._is_firing and at_seconds < self._timer_at:
            self._arm()
        return entry

    def after(self, seconds: float, action: Callable[[], None]) -> Entry:
        """Have `action` called that much later."""
        return self.at(self.now() + seconds, action)

    async def sleep(self, seconds: float) -> None:
        """Wait that many simulated seconds."""
        await self._clock.sleep(seconds / self.factor)

    def _read(self) -> float:
        return self._now if self._zero is None else max(self._now, (self._clock.monotonic() - self._zero) * self.factor)

    def _catch_up(self) -> None:
        reading = self._read()
        limit = reading + max(_SAME, 8 * math.ulp(reading))
        if self._queue and self._queue[0].at_seconds <= limit:
            self._is_firing = True
            try:
                self._fire_until(limit)
            finally:
                self._is_firing = False
            self._arm()
        self._now = max(self._now, reading)

    def _fire_until(self, limit: float) -> None:
        while self._queue and self._queue[0].at_seconds <= limit:
            entry = heapq.heappop(self._queue)
            if entry.action is not None:
                # Each happens at its own time, however late the loop came to it.
                self._now = max(self._now, entry.at_seconds)
                entry.action()

    def _arm(self) -> None:
        while self._queue and self._queue[0].action is None:
            heapq.heappop(self._queue)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = self._queue[0].at_seconds if self._queue else math.inf
        if self._zero is None or not self._queue:
            return
        delay = max(0.0, self._timer_at - self._read()) / self.factor
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._catch_up()
        if self._timer is None:
            self._arm()
