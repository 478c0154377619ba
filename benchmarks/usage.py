# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory of processes, as the kernel counts them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Of several processes together, by name."""

    cpu_seconds: Mapping[str, float]

    def since(self, before: Usage) -> dict[str, float]:
        """Give what was used since then."""
        return {name: round(seconds - before.cpu_seconds.get(name, 0.0), 3) for name, seconds in self.cpu_seconds.items()}


def of(named: Mapping[str, int]) -> Usage:
    """Count the CPU time of each process with all its children, those that have ended and were waited for included."""
    return Usage({name: sum(_cpu_seconds(one) for one in (pid, *_descendants(pid))) for name, pid in named.items()})


def memory_mib(pid: int) -> dict[str, float]:
    """Give the resident memory of a process and its children, and what of it is its own (proportional set size)."""
    resident = proportional = 0.0
    for one in (pid, *_descendants(pid)):
        with contextlib.suppress(OSError):
            resident += int(pathlib.Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE / _MIB
            rolled = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text()
            proportional += next(int(line.split()[1]) for line in rolled.splitlines() if line.startswith("Pss:")) / 1024
    return {"resident_mib": round(resident, 1), "proportional_mib": round(proportional, 1)}


def _descendants(pid: int) -> Iterable[int]:
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                for child in pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                    yield int(child)
                    yield from _descendants(int(child))


def _cpu_seconds(pid: int) -> float:
    try:
        # The name may hold spaces and brackets; what follows its closing bracket does not.
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, cutime, cstime: fields 14 to 17 of the line.
    return sum(int(value) for value in fields[11:15]) / _TICKS
