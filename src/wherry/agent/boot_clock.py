# SPDX-License-Identifier: Apache-2.0
"""Time that goes on while an agent is dead: what a deadline is counted in, so that a restart does not lengthen it.

Gives no wall time, which may jump.
"""

from __future__ import annotations

import pathlib
import time
from typing import Protocol

_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


class BootClock(Protocol):
    """Seconds since the machine started. Readings of different boots cannot be compared."""

    def boot_id(self) -> str:
        """Name the boot."""

    def seconds(self) -> float:
        """Give seconds since it, the machine's sleep included."""


class MachineBootClock:
    """The kernel's."""

    def __init__(self) -> None:
        self._boot_id = _BOOT_ID.read_text().strip()

    def boot_id(self) -> str:
        return self._boot_id

    def seconds(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
