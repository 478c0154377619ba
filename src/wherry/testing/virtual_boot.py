# SPDX-License-Identifier: Apache-2.0
"""The uptime of a machine that exists in tests and simulations only."""

from __future__ import annotations

from wherry import clock as wherry_clock


class VirtualBootClock:
    """A machine whose uptime is a clock's monotonic time; `reboot` begins another boot."""

    def __init__(self, clock: wherry_clock.Clock) -> None:
        self._clock = clock
        self._boots = 0
        self._zero = 0.0

    def boot_id(self) -> str:
        """Name the boot."""
        return f"boot-{self._boots}"

    def seconds(self) -> float:
        """Give seconds since it."""
        return self._clock.monotonic() - self._zero

    def reboot(self) -> None:
        """Begin another boot."""
        self._boots += 1
        self._zero = self._clock.monotonic()
