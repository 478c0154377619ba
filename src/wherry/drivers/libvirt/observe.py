# SPDX-License-Identifier: Apache-2.0
"""What a domain's state and reason mean for the truth table. Reads only; decides nothing about a migration's outcome.

Seen on libvirt 9.0 with QEMU 7.2, as state/reason:

- source, guest running: running/* during the copy; paused/migration from the switch-over on; then the domain is gone.
- source, suspended by anyone during the copy: paused/migration too, not paused/user; an abort lets it run again by itself.
- source, paused before the start: paused/user throughout.
- source in post-copy: paused/migration for some ms, then paused/post-copy until the end.
- destination: paused/starting up while its QEMU starts, paused/migration while memory arrives, then running/migrated (paused/user for
  a guest that was paused); jobStats refuses as unsupported until the very end, about 5 ms after it runs.
- destination in post-copy: running/post-copy, running/migrated at the end.
- broken post-copy: source paused/post-copy failed, destination running/post-copy failed.
- post-copy broken in its first milliseconds, before the guest runs there: source paused/post-copy failed, destination absent.
- after an abort: source running/* as before, running/migration canceled if it had been suspended meanwhile; destination absent.
"""

from __future__ import annotations

import libvirt

from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.drivers.libvirt import job
from wherry.model import guest

_S = guest.GuestState

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: _S.PAUSED,
    libvirt.VIR_DOMAIN_RUNNING: _S.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: _S.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: _S.PAUSED,
    # On its way down, yet active: its process lives and may still write.
    libvirt.VIR_DOMAIN_SHUTDOWN: _S.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: _S.SHUT_OFF,
    libvirt.VIR_DOMAIN_CRASHED: _S.SHUT_OFF,
    libvirt.VIR_DOMAIN_PMSUSPENDED: _S.PAUSED,
}
_REASONS = {
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): _S.POST_COPY,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): _S.POST_COPY_FAILED,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): _S.PAUSED_FOR_SWITCH_OVER,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): _S.POST_COPY,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): _S.POST_COPY_FAILED,
}
_RESUMED_BY_JOB = "runs again after a migration that was given up"
#: What is worth telling beyond the state.
_DETAILS = {
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED): _RESUMED_BY_JOB,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): "runs while memory is still to come",
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): "runs without the rest of its memory: post-copy failed",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): "paused by request",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): "paused for its migration",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR): "paused by an I/O error of a disk",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_WATCHDOG): "paused by its watchdog",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): "paused since it crashed",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): "starting up",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): "paused for post-copy",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): "paused: post-copy failed",
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): "shut down",
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): "destroyed",
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): "crashed",
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED): "migrated away",
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): "failed to start",
}


def guest_state(state: int, reason: int, *, is_incoming: bool) -> guest.GuestState:
    """Give the state that the truth table reads."""
    if is_incoming and state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
        return _S.PAUSED_FOR_SWITCH_OVER
    return _REASONS.get((state, reason)) or _STATES.get(state, _S.PAUSED)


def was_resumed_by_job(detail: str) -> bool:
    """Whether libvirt itself let the guest run again after a migration that had it paused, told by what `read` gave as the detail.

    Seen with libvirt 9.0 after an abort of a paused guest's copy, and after a closing reply that was lost; a copy that fails while the
    guest runs leaves the reason as it was.
    """
    return detail == _RESUMED_BY_JOB


def find(connection: libvirt.virConnect, instance_uuid: str) -> libvirt.virDomain | None:
    """Give the domain, or None when libvirt says that there is none."""
    try:
        return connection.lookupByUUIDString(instance_uuid)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def read(domain: libvirt.virDomain) -> tuple[guest.GuestState, job.Job, str]:
    """Read state, job and what else is to be said of the state.

    The job is read first: a migration that ends in between is then seen as the state after it with a job, which means wait.
    """
    current = job.read(domain)
    state, reason = domain.state()
    return guest_state(state, reason, is_incoming=current.name == job.MIGRATION_IN), current, _DETAILS.get((state, reason), "")
