# SPDX-License-Identifier: Apache-2.0
"""Time, behind one protocol, so that every wait and stamp can run on virtual time.

Holds no policy: what a duration means is its owner's business.
"""

from __future__ import annotations

import asyncio
import datetime
from typing import Protocol


class Clock(Protocol):
    """What may be asked of time. Nothing else in Wherry reads a clock or sleeps."""

    def now(self) -> datetime.datetime:
        """Give the wall time, aware, in UTC. For stamps only: it may jump."""

    def monotonic(self) -> float:
        """Give seconds that never run backwards, from an arbitrary start. For durations."""

    async def sleep(self, seconds: float) -> None:
        """Wait at least that long; zero and less only give way to others."""


class LoopClock:
    """Time as the running event loop counts it: real on asyncio's loops, virtual on a virtual-time loop.

    :param start: the wall time when the clock is made; omitted, the machine's. Given, wall time follows the loop's time from there.
    """

    def __init__(self, start: datetime.datetime | None = None) -> None:
        self._start = start
        self._zero: float | None = None

    def now(self) -> datetime.datetime:
        if self._start is None:
            return datetime.datetime.now(datetime.UTC)
        elapsed = self.monotonic()
        if self._zero is None:
            self._zero = elapsed
        return self._start + datetime.timedelta(seconds=elapsed - self._zero)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class SetClock:
    """Another clock whose wall time was set: by one that several machines share, where its own is wrong."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: How far its time is ahead of the other clock's.
        self.ahead = datetime.timedelta(0)

    def set_ahead(self, ahead: datetime.timedelta) -> None:
        """Tell a time from now on that is so far ahead of the other clock's."""
        self.ahead = ahead

    def now(self) -> datetime.datetime:
        return self._clock.now() + self.ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
