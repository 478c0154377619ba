# SPDX-License-Identifier: Apache-2.0
"""Whether a guest has been paused since it arrived here, which QEMU before 10.0 does not survive when it is sent on. Reads only.

An arriving guest's images are inactive until the guest runs. One that arrives paused keeps them so, and at the end of its next migration
QEMU gives them up a second time: the assertion `!(bs->open_flags & BDRV_O_INACTIVE)` fails, and the guest is gone. Seen with QEMU 7.2, with
read-only media too, not with empty drives; that 10.0 is the first to bear it is from reading about its rework, not from trying.

libvirt shows such a guest as paused/user, like any other, and no supported call tells whether an image is active. It takes two facts:

- It came by a migration. libvirt shows the arrival as the last completed job, whoever made it, but forgets it when the daemon restarts and
  when somebody reads it without the flag that keeps it; what the agent's journal says of our own migrations lasts.
- It has not run in this QEMU process. The counters of KVM say so exactly: 0 exits until the first run, and at least one by a signal from
  then on, even for a guest that only halts. Without them (TCG; libvirt or QEMU too old to tell) there is the vCPUs' time, in steps of
  10 ms: a guest that has hardly run is taken for one that has not. That errs to the safe side, and a guest that runs is never refused.

A guest that was created paused has not run either, but its images are active; it may go.
"""

from __future__ import annotations

from typing import Any

import libvirt

from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest

#: First QEMU that survives it. The version is that of the installed program: a process that outlived an upgrade may be older.
_FIRST_TO_SEND_ON = 10_000_000
_COMPLETED = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
_MIGRATION_IN: int = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN
#: More of the vCPUs' time than setting them up takes: it showed as 0 for up to 16 of them.
_HAS_RUN_NANOSECONDS = 50_000_000


def is_paused_since(connection: libvirt.virConnect, domain: libvirt.virDomain, leaving: guest.Guest, *, has_arrived_paused: bool) -> bool:
    """Whether this paused guest would be lost if it were sent on.

    :param has_arrived_paused: whether the agent knows so of its last arrival.
    """
    version: int = connection.getVersion()
    if version >= _FIRST_TO_SEND_ON or not any(disk.source for disk in leaving.disks):
        return False
    if not (has_arrived_paused or _shows_arrival(domain)):
        return False
    # No NOWAIT: it would leave out the counters while something else asks the same QEMU.
    found = connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_VCPU)
    return any(not has_run(statistics) for _, statistics in found)


def has_run(statistics: dict[str, Any]) -> bool:
    """Whether a vCPU has run in this QEMU process, by the statistics of all of them."""
    exits: list[int] = [value for name, value in statistics.items() if name.startswith("vcpu.") and name.endswith("exits.sum")]
    if exits:
        return any(exits)
    times: list[int] = [value for name, value in statistics.items() if name.startswith("vcpu.") and name.endswith(".time")]
    return sum(times) >= _HAS_RUN_NANOSECONDS


def _shows_arrival(domain: libvirt.virDomain) -> bool:
    try:
        statistics = domain.jobStats(_COMPLETED)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) in (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, *libvirt_errors.INVALID_NOW):
            return False
        raise
    last: int = statistics.get("operation", libvirt.VIR_DOMAIN_JOB_OPERATION_UNKNOWN)
    return last == _MIGRATION_IN
