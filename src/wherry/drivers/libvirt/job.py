# SPDX-License-Identifier: Apache-2.0
"""Reads a domain's job: whether one is under way, which, and its counters.

Never takes an ended job's kind for an outcome: statistics that say FAILED or CANCELLED are no verdict.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import libvirt

from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import progress

#: Names of jobs, as Guest.active_job and the error of a busy guest show them.
_NAMES = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_START: "start",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: "save",
    libvirt.VIR_DOMAIN_JOB_OPERATION_RESTORE: "restore",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: "migration in",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: "migration out",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT: "snapshot revert",
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: "dump",
    libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: "backup",
}
MIGRATION_OUT = "migration out"
MIGRATION_IN = "migration in"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A domain's job at one moment."""

    #: Its name; empty for none.
    name: str = ""
    statistics: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_migration(self) -> bool:
        """Whether it moves the guest, in or out."""
        return self.name in (MIGRATION_OUT, MIGRATION_IN)

    @property
    def has_copied(self) -> bool:
        """Whether the copy has begun: before that the destination only makes ready."""
        return any(self.statistics.get(name, 0) > 0 for name in ("memory_total", "disk_total"))


NO_JOB = Job()


def read(domain: libvirt.virDomain) -> Job:
    """Read the job of a domain.

    An incoming domain refuses statistics as unsupported from its first moment until the migration's end, and only then
    (libvirt 9.0): that is how it is told from one that is at home. One that does not run refuses them as invalid.
    """
    try:
        statistics = domain.jobStats()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            return Job(name=MIGRATION_IN)
        if libvirt_errors.code(problem) in libvirt_errors.INVALID_NOW:
            return NO_JOB
        raise
    # COMPLETED, FAILED and CANCELLED are shown for a moment before the job goes: it is still under way until then.
    if statistics.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return NO_JOB
    return Job(name=_NAMES.get(statistics.get("operation"), "unknown"), statistics=statistics)


def to_progress(statistics: dict[str, Any], *, is_ended: bool = False) -> progress.Progress:
    """Make our counters of libvirt's."""
    get = statistics.get
    # One field, two meanings: what a switch-over would take now, and after the end what it took.
    downtime = get("downtime")
    return progress.Progress(
        memory_total_bytes=get("memory_total", 0),
        memory_processed_bytes=get("memory_processed", 0),
        memory_remaining_bytes=get("memory_remaining", 0),
        disk_total_bytes=get("disk_total", 0),
        disk_processed_bytes=get("disk_processed", 0),
        disk_remaining_bytes=get("disk_remaining", 0),
        iteration=get("memory_iteration", 0),
        # Pages a second, not bytes.
        dirty_bytes_per_second=get("memory_dirty_rate", 0) * get("memory_page_size", 4096),
        memory_bytes_per_second=get("memory_bps", 0),
        expected_downtime_ms=None if is_ended else downtime,
        downtime_ms=downtime if is_ended else None,
        elapsed_ms=get("time_elapsed", 0),
    )
