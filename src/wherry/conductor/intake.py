# SPDX-License-Identifier: Apache-2.0
"""Live migrations whose checks are still to begin here: first come, first served, and no more at a time than the process can bear.

A request is answered once it is recorded; what runs behind the answers must not keep the next ones waiting, least of all where api and
conductor share one loop. Keeps nothing that matters: what is forgotten here is found by the sweep.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs

#: Checks that run at a time however busy the loop is, and when nothing is known of that yet. A check is some hundred short turns: beside
#: requests that take all there is, one alone takes a second, and four take a fortieth of the loop's time.
_AT_LEAST = 4


class Intake:
    """Begins checks: one more at a time after each that ended, and half as many once a turn of the loop takes too long.

    :param check: runs the checks of one, and returns when they are over or another conductor's.
    :param config: gives the configuration that holds now.
    """

    def __init__(
        self,
        *,
        check: Callable[[str], Awaitable[None]],
        clock: clocks.Clock,
        config: Callable[[], configs.Config],
        background: backgrounds.Background,
    ) -> None:
        self._check = check
        self._clock = clock
        self._config = config
        self._background = background
        self._waiting: collections.deque[str] = collections.deque()
        #: Those that wait, and those whose checks run.
        self._known: set[str] = set()
        self._running = 0
        self._allowed = _AT_LEAST

    def __contains__(self, operation_id: str) -> bool:
        return operation_id in self._known

    def add(self, operation_id: str) -> None:
        """Have the checks of one run when its turn comes. One that waits, or is being checked, is left as it is."""
        if operation_id in self._known:
            return
        self._known.add(operation_id)
        self._waiting.append(operation_id)
        self._begin()

    def resume(self) -> None:
        """Begin what a configuration that was read again allows."""
        self._begin()

    def _begin(self) -> None:
        while self._waiting and self._running < min(self._allowed, self._config().conductor.max_concurrent_checks):
            operation_id = self._waiting.popleft()
            self._running += 1
            self._background.spawn(self._run(operation_id), f"check {operation_id}")

    async def _run(self, operation_id: str) -> None:
        try:
            await backgrounds.attempt(lambda: self._check(operation_id), "Checking a migration")
        finally:
            self._running -= 1
            self._known.discard(operation_id)
        await self._measure()
        self._begin()

    async def _measure(self) -> None:
        """See how long everything else that is ready takes: who came in last waits at least as long."""
        begun = self._clock.monotonic()
        await asyncio.sleep(0)
        section = self._config().conductor
        if self._clock.monotonic() - begun > section.busy_turn_seconds:
            self._allowed = max(_AT_LEAST, self._allowed // 2)
        else:
            self._allowed = min(section.max_concurrent_checks, self._allowed + 1)
