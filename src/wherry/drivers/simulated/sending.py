# SPDX-License-Identifier: Apache-2.0
"""What a simulated hypervisor does when its driver asks it to send, steer, finish or undo. Refuses what libvirt would refuse."""

from __future__ import annotations

import posixpath

from wherry import errors
from wherry.drivers import base
from wherry.drivers.simulated import copying, fleet, world
from wherry.drivers.simulated import transfer as transfers
from wherry.drivers.simulated.transfer import Stage
from wherry.model import guest, migration

_S = guest.GuestState


def require(here: fleet.Host, is_able: bool, what: str) -> None:
    """Refuse what this hypervisor cannot do.

    :raises Unsupported: when it is not able.
    """
    if not is_able:
        raise errors.Unsupported(what=what, driver=here.profile.name)


# ------------------------------------------------------------------ destination


async def create_disk(here: fleet.Host, task: base.Task, disk: guest.Disk) -> None:
    """Create the file into which a disk is copied; one that this migration made before is fine.

    :raises PreparationFailed: when it cannot be.
    """
    store = here.store_of(disk.source)
    name = posixpath.basename(disk.source)
    if store is None:
        raise errors.PreparationFailed(host=here.name, uuid=task.instance_uuid, detail=f"no directory for {disk.source}")
    if name in store.files:
        return
    if store.free_bytes < disk.capacity_bytes:
        detail = f"{store.free_bytes} bytes are free for {disk.source}, {disk.capacity_bytes} are needed"
        raise errors.PreparationFailed(host=here.name, uuid=task.instance_uuid, detail=detail)
    await task.record_created(disk.source)
    if name not in store.files:
        store.add(name, disk.capacity_bytes)


def undo(here: fleet.Host, running: copying.Copying, task: base.Task) -> None:
    """Remove a leftover that does not run and the files that the migration made.

    :raises HypervisorFailure: while a copy is coming in.
    """
    local = here.guests.get(task.instance_uuid)
    if local is not None and running.job_at(here, task.instance_uuid) is not None:
        raise errors.HypervisorFailure(host=here.name, what="undo", detail="the guest's migration is under way")
    if local is not None and local.state in (_S.PAUSED_FOR_SWITCH_OVER, _S.SHUT_OFF):
        del here.guests[task.instance_uuid]
    used = {disk.source for present in here.guests.values() for disk in present.spec.disks} if task.created else set()
    for path in sorted(task.created - used):
        store = here.store_of(path)
        if store is not None:
            store.remove(posixpath.basename(path))


# ----------------------------------------------------------------------- source


def check_way(fleet_world: world.World, here: fleet.Host, facts: migration.DestinationFacts) -> fleet.Host:
    """Give the destination, reached from here.

    :raises MigrationAddressUnreachable: when it is not.
    """
    destination = fleet_world.host_at(facts.connection_uri)
    problem = ""
    if destination is None:
        problem = f"{facts.connection_uri} is no host of the simulated fleet {fleet_world.name}"
    elif destination.daemon is not fleet.Daemon.UP:
        problem = "its hypervisor does not answer"
    elif not (here.uplink.is_up and destination.downlink.is_up and (fleet_world.core is None or fleet_world.core.is_up)):
        problem = "no route to host"
    if destination is None or problem:
        raise errors.MigrationAddressUnreachable(
            source=here.name, address=facts.transfer_uri or facts.connection_uri, host=facts.host, detail=problem
        )
    return destination


def start(
    fleet_world: world.World, here: fleet.Host, task: base.Task, plan: migration.Plan, *, options: base.TransferOptions, owner: object
) -> None:
    """Start a transfer, or find it started: under way, or ended under the same migration.

    :raises TransferRefused: when nothing was started.
    """
    require(here, here.profile.capabilities.live_migration, "live migration")
    running = fleet_world.copying
    ended = running.ended.get((here.name, task.instance_uuid))
    if running.job_at(here, task.instance_uuid) is not None or (ended is not None and ended.order.operation_id == task.operation_id):
        return
    running.start(_order(fleet_world, here, task, plan, options=options, owner=owner))


def _order(
    fleet_world: world.World, here: fleet.Host, task: base.Task, plan: migration.Plan, *, options: base.TransferOptions, owner: object
) -> transfers.Order:
    local = here.guests.get(task.instance_uuid)
    if local is None or local.state not in (_S.RUNNING, _S.PAUSED):
        raise _refused(task, "domain is not running" if local else f"{here.name} has no such domain")
    if options.permit_post_copy:
        require(here, here.profile.capabilities.force_complete_by_post_copy, "post-copy")
    if local.state is _S.PAUSED and not here.profile.capabilities.paused_guests:
        raise _refused(task, "domain is paused")
    if plan.facts is None:
        raise _refused(task, "the plan has no facts of the destination")
    try:
        destination = check_way(fleet_world, here, plan.facts)
    except errors.MigrationAddressUnreachable as error:
        raise _refused(task, error.message) from error
    if task.instance_uuid in destination.guests:
        raise _refused(task, f"operation failed: domain is already active on {destination.name}")
    copied = plan.storage.copied if plan.storage else ()
    for disk in local.spec.disks:
        if disk.kind is guest.DiskKind.FILE and disk.source and not destination.has_file(disk.source):
            raise _refused(task, f"cannot access storage file {disk.source} on {destination.name}")
    return transfers.Order(
        operation_id=task.operation_id,
        spec=local.spec,
        source=here,
        destination=destination,
        options=options,
        disk_bytes=sum(disk.capacity_bytes for disk in copied),
        is_paused=local.state is _S.PAUSED,
        has_unlocked_disks=transfers.has_unlocked_disks(local.spec, here, frozenset(disk.name for disk in copied)),
        owner=owner,
    )


def _refused(task: base.Task, detail: str) -> errors.TransferRefused:
    return errors.TransferRefused(uuid=task.instance_uuid, detail=detail)


def read(running: copying.Copying, here: fleet.Host, instance_uuid: str, owner: object) -> base.Transfer:
    """Read job and counters, also of a transfer that has ended.

    :raises Unsupported: when another process started it and this hypervisor's transfers die with their watcher's memory.
    """
    job = running.job_at(here, instance_uuid)
    transfer = job or running.ended.get((here.name, instance_uuid))
    if transfer is None or transfer.order.source is not here:
        return base.Transfer(is_active=job is not None)
    flags = here.profile.capabilities
    if job is not None:
        require(here, flags.adoption or transfer.order.owner is owner, "watching a transfer that another process started")
    return base.Transfer(
        is_active=job is not None,
        is_post_copy=transfer.stage is Stage.POST_COPY,
        progress=transfer.read() if flags.progress else None,
        call_error=transfer.error if transfer.order.owner is owner else "",
    )


def under_way(running: copying.Copying, here: fleet.Host, instance_uuid: str) -> transfers.Transfer:
    """Give the transfer out of this host.

    :raises NoActiveTransfer: when there is none.
    """
    job = running.job_at(here, instance_uuid)
    if job is None or job.order.source is not here:
        raise errors.NoActiveTransfer(uuid=instance_uuid, host=here.name)
    return job


def abort(running: copying.Copying, here: fleet.Host, instance_uuid: str) -> None:
    """Abort a transfer whose guest is whole at the source still.

    :raises HypervisorFailure: in post-copy, where no side has the whole guest.
    :raises NoActiveTransfer: when there is none, or the guest has arrived.
    """
    job = under_way(running, here, instance_uuid)
    if job.stage is Stage.POST_COPY:
        raise errors.HypervisorFailure(host=here.name, what="abort the transfer", detail="migration job is in post-copy")
    if job.stage not in transfers.UNDECIDED:
        raise errors.NoActiveTransfer(uuid=instance_uuid, host=here.name)
    running.abort(job)


def switch_to_post_copy(running: copying.Copying, here: fleet.Host, instance_uuid: str) -> None:
    """Switch a transfer that was started for it; one that has switched is fine.

    :raises Unsupported: when it was not started for it.
    :raises NoActiveTransfer: when there is none, or nothing is left to send.
    """
    job = under_way(running, here, instance_uuid)
    require(here, job.order.options.permit_post_copy, "post-copy of a transfer that was started without it")
    if job.stage is Stage.CLOSING:
        raise errors.NoActiveTransfer(uuid=instance_uuid, host=here.name)
    running.switch_to_post_copy(job)


def resume_post_copy(fleet_world: world.World, here: fleet.Host, task: base.Task, plan: migration.Plan) -> None:
    """Connect a broken post-copy again; one that flows is fine.

    :raises NoActiveTransfer: when nothing is broken here.
    :raises TransferRefused: when the destination is not reached, or has lost its part.
    """
    running = fleet_world.copying
    local = here.guests.get(task.instance_uuid)
    if local is not None and local.state is _S.POST_COPY:
        return
    ended = running.ended.get((here.name, task.instance_uuid))
    if local is None or local.state is not _S.POST_COPY_FAILED or ended is None or plan.facts is None:
        raise errors.NoActiveTransfer(uuid=task.instance_uuid, host=here.name)
    try:
        destination = check_way(fleet_world, here, plan.facts)
    except errors.MigrationAddressUnreachable as error:
        raise _refused(task, error.message) from error
    other = destination.guests.get(task.instance_uuid)
    if destination is not ended.order.destination or other is None or other.state is not _S.POST_COPY_FAILED:
        raise _refused(task, f"{destination.name} has no broken post-copy of the domain")
    running.resume_post_copy(ended)
