# SPDX-License-Identifier: Apache-2.0
"""How long a transfer has been going on, and what it may take: kept across restarts of the agent and of its machine.

Decides nothing when the time is over.
"""

from __future__ import annotations

import dataclasses

from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.model import convergence, deadline, progress
from wherry.rpc import messages

#: Difference to the hypervisor's own count from which ours is known to be wrong, as after the journal was lost.
_TOLERANCE_SECONDS = 2.0


def elapsed_seconds(parts: wherry_parts.Parts, note: wherry_journal.TransferNote) -> float:
    """Give the seconds since the transfer began."""
    if note.boot_id == parts.boot_clock.boot_id():
        return max(0.0, parts.boot_clock.seconds() - note.began_boot_seconds)
    return max(0.0, (parts.clock.now() - note.began_at).total_seconds())


def settle_beginning(parts: wherry_parts.Parts, note: wherry_journal.TransferNote, counters: progress.Progress | None) -> bool:
    """Correct when the transfer began by the hypervisor's count, where ours cannot know it; say whether anything changed.

    After a reboot of the agent's machine the hypervisor's count is the only sure one; and a transfer that was joined began before us.
    """
    by_hypervisor = counters.elapsed_ms / 1000 if counters is not None else 0.0
    ours = elapsed_seconds(parts, note)
    is_same_boot = note.boot_id == parts.boot_clock.boot_id()
    if is_same_boot and by_hypervisor <= ours + _TOLERANCE_SECONDS:
        return False
    # Zero means that the hypervisor does not count: the wall's difference is then the best there is.
    truth = by_hypervisor or ours
    began = parts.boot_clock.seconds() - truth
    if note.paused_boot_seconds is not None:
        note.paused_boot_seconds += began - note.began_boot_seconds
    note.boot_id = parts.boot_clock.boot_id()
    note.began_boot_seconds = began
    return True


def with_pause(
    parts: wherry_parts.Parts, note: wherry_journal.TransferNote, counters: progress.Progress | None
) -> progress.Progress | None:
    """Give the last counters with how long the guest stood still, where we had paused it and the hypervisor does not tell.

    libvirt counts a pause of ours with its switch-over, and ends the count when the guest runs at the destination; it tells nothing of a
    transfer that ended otherwise.
    """
    if note.paused_boot_seconds is None or counters is None or counters.downtime_ms is not None:
        return counters
    return dataclasses.replace(counters, downtime_ms=round((parts.boot_clock.seconds() - note.paused_boot_seconds) * 1000))


def budget_of(parts: wherry_parts.Parts, command: messages.StartTransfer) -> deadline.Deadline:
    """Resolve the effective budget from request and configuration as they are now.

    What is only configured and cannot be kept by this driver is left out; the event of the source's check says so.
    """
    section = parts.config.libvirt
    resolved = deadline.resolve(
        requested_timeout_seconds=command.request.timeout_seconds,
        requested_action=command.request.on_timeout,
        configured_timeout_seconds_per_gib=section.live_migration_completion_timeout,
        configured_action=deadline.TimeoutAction(section.live_migration_timeout_action),
        data=_data_gib(command),
    )
    is_configured = resolved.timeout_origin is resolved.on_timeout_origin is deadline.Origin.CONFIGURATION
    can_both = command.plan.facts is not None and command.plan.facts.capabilities.force_complete_by_post_copy
    can_force = parts.capabilities.force_complete_by_pause or (parts.capabilities.force_complete_by_post_copy and can_both)
    can_act = parts.capabilities.abort if resolved.on_timeout is deadline.TimeoutAction.ABORT else can_force
    return dataclasses.replace(resolved, timeout_seconds=0) if is_configured and not can_act else resolved


def ramp_of(parts: wherry_parts.Parts, command: messages.StartTransfer, budget: deadline.Deadline) -> tuple[convergence.DowntimeStep, ...]:
    """Give the steps in which the allowed downtime grows."""
    section = parts.config.libvirt
    return convergence.downtime_ramp(
        downtime_ms=section.live_migration_downtime,
        steps=section.live_migration_downtime_steps,
        delay_seconds=section.live_migration_downtime_delay,
        data_gib=_data_gib(command),
        budget=budget,
    )


def _data_gib(command: messages.StartTransfer) -> int:
    plan = command.plan
    memory_mib = plan.guest.memory_mib if plan.guest is not None else 0
    copied = plan.storage.copied if plan.storage is not None else ()
    return deadline.data_gib(memory_mib, tuple(disk.capacity_bytes for disk in copied))
