# SPDX-License-Identifier: Apache-2.0
"""Keeps the processes of several machines at one time, the database's: they judge each other's stamps, and a machine's clock may be wrong.

Durations are never taken from it; leases go by the database's clock itself.
"""

from __future__ import annotations

import datetime

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs
from wherry.db import store as stores
from wherry.telemetry import logs

_log = logs.get_logger(__name__)
_NONE = datetime.timedelta(0)


class Timekeeper:
    """Sets one process's clock by its store's database. A database on this machine has no clock but the same one.

    :param clock: the one that the store, and everything else in the process, goes by.
    """

    def __init__(self, *, store: stores.Store, clock: clocks.SetClock, section: configs.DatabaseSection) -> None:
        self._store = store
        self._clock = clock
        self._section = section

    async def compare(self) -> None:
        """Ask the database for its time once, and go by it from now on if the machine's is too far from it.

        :raises DatabaseUnavailable: it does not answer.
        """
        before = self._clock.monotonic()
        difference = await self._store.clock_difference()
        tolerance = datetime.timedelta(seconds=self._section.clock_tolerance_seconds)
        if self._clock.monotonic() - before > self._section.clock_tolerance_seconds or abs(difference) <= tolerance:
            # An answer that took so long says nothing as exact.
            return
        ahead = self._clock.ahead + difference
        if abs(ahead) <= tolerance:
            ahead = _NONE
        self._clock.set_ahead(ahead)
        off = round(-ahead.total_seconds(), 1)
        if ahead == _NONE:
            _log.info("The clock of this machine agrees with the database's again.")
        else:
            _log.warning("The clock of this machine is wrong; the database's time is used. Set it right.", ahead_seconds=off)

    def keep(self, background: backgrounds.Background) -> None:
        """Compare again and again."""
        every = self._section.clock_check_interval_seconds
        background.spawn(backgrounds.repeat(self.compare, "Comparing clocks", every_seconds=every, clock=self._clock), "compare clocks")
