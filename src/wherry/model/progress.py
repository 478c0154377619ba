# SPDX-License-Identifier: Apache-2.0
"""Counters of a transfer, and the arithmetic on them. Reads no hypervisor."""

from __future__ import annotations

import dataclasses


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
    #: Milliseconds that the switch-over really paused the guest; None before it.
    downtime_ms: int | None = None
    #: Milliseconds since the transfer started, by the hypervisor's count.
    elapsed_ms: int = 0


def memory_percentage(progress: Progress) -> int:
    """Give Nova's progress: the share of memory that is not remaining, 0 to 100, disks left aside."""
    if progress.memory_total_bytes <= 0:
        return 0
    share = 100 - progress.memory_remaining_bytes * 100 // progress.memory_total_bytes
    return max(0, min(100, share))
