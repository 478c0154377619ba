# SPDX-License-Identifier: Apache-2.0
"""What a simulated hypervisor does when its driver moves a guest that is off, or makes it another size."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import posixpath
from collections.abc import Callable, Collection

from wherry import errors
from wherry.drivers import base
from wherry.drivers.simulated import checks, describing, disturbances, fleet, making, network, sending, world
from wherry.model import guest, migration, progress

_S = guest.GuestState
_MOVABLE = frozenset({_S.RUNNING, _S.SHUT_OFF})
#: Parts in which disks are sent, each reported.
_PARTS = 10


class GuestRelocation(abc.ABC):
    """That role of a simulated driver."""

    _world: world.World
    _is_open: bool

    @abc.abstractmethod
    def _calling(self, method: str, instance_uuid: str = "") -> contextlib.AbstractAsyncContextManager[fleet.Host]:
        """Make one call of the hypervisor: its effect is what is done inside."""

    async def check_departure(self, task: base.Task, plan: migration.Plan) -> base.Departure:
        async with self._calling("check_departure", task.instance_uuid) as here:
            sending.require(here, here.profile.capabilities.cold_migration, "moving a guest that is off")
            return check_departure(self._world, here, task, plan)

    async def prepare_arrival(self, task: base.Task, plan: migration.Plan) -> None:
        async with self._calling("prepare_arrival", task.instance_uuid) as here:
            for disk in plan.storage.copied if plan.storage else ():
                store = here.store_of(disk.source)
                if store is not None and posixpath.basename(disk.source) in store.files and disk.source not in task.created:
                    detail = f"there is a file {disk.source} already, which this migration did not make"
                    raise errors.PreparationFailed(host=here.name, uuid=task.instance_uuid, detail=detail)
                await sending.create_disk(here, task, disk)

    async def retire_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        async with self._calling("retire_guest", task.instance_uuid) as here:
            local = _local(here, task.instance_uuid)
            if local.state is not _S.SHUT_OFF:
                disturbances.Disturbances(self._world).destroy_guest(here.name, task.instance_uuid)
            local.has_autostart = False
            return describing.describe_guest(here, self._world.copying, local)

    async def send_disks(self, task: base.Task, plan: migration.Plan, report: Callable[[progress.Progress], None]) -> None:
        async with self._calling("send_disks", task.instance_uuid) as here:
            disks = plan.storage.copied if plan.storage else ()
            total = sum(disk.capacity_bytes for disk in disks)
            for part in range(1, _PARTS + 1) if disks else ():
                there = _reached(self._world, here, task, plan)
                rate = min(here.uplink.mib_per_s, there.downlink.mib_per_s) * network.MIB
                await self._world.time.sleep(0.0 if self._world.copying.is_instant else total / _PARTS / rate)
                sent = total * part // _PARTS
                report(progress.Progress(disk_total_bytes=total, disk_processed_bytes=sent, disk_remaining_bytes=total - sent))
            for disk in disks:
                self._write(here, _reached(self._world, here, task, plan), task, disk)

    def _write(self, here: fleet.Host, there: fleet.Host, task: base.Task, disk: guest.Disk) -> None:
        origin, target = here.store_of(disk.source), there.store_of(disk.source)
        name = posixpath.basename(disk.source)
        if origin is None or target is None or name not in origin.files or name not in target.files:
            raise errors.TransferRefused(uuid=task.instance_uuid, detail=f"cannot open {disk.source} on both sides")
        if self._is_open:
            target.contents[name] = origin.contents.get(name, "")

    async def receive_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        async with self._calling("receive_guest", task.instance_uuid) as here:
            present = here.guests.get(task.instance_uuid)
            if present is None or present.state is _S.SHUT_OFF:
                arrived = fleet.Guest(resized(self._world, here, task, plan.new_size), _S.SHUT_OFF)
                arrived.has_autostart = plan.has_autostart
                here.guests[task.instance_uuid] = arrived
            return describing.describe_guest(here, self._world.copying, here.guests[task.instance_uuid])

    async def restore_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        async with self._calling("restore_guest", task.instance_uuid) as here:
            local = _local(here, task.instance_uuid)
            local.has_autostart = plan.has_autostart
            if local.state is _S.SHUT_OFF and plan.old_size is not None:
                local.spec = dataclasses.replace(local.spec, memory_mib=plan.old_size.memory_mib, vcpus=plan.old_size.vcpus)
            return describing.describe_guest(here, self._world.copying, local)

    async def discard_guest(self, task: base.Task, plan: migration.Plan) -> None:
        async with self._calling("discard_guest", task.instance_uuid) as here:
            if task.instance_uuid in here.guests:
                disturbances.Disturbances(self._world).destroy_guest(here.name, task.instance_uuid)
            sending.undo(here, self._world.copying, task)

    async def release_guest(self, task: base.Task, plan: migration.Plan, owned: Collection[str]) -> tuple[str, ...]:
        async with self._calling("release_guest", task.instance_uuid) as here:
            local = here.guests.get(task.instance_uuid)
            if local is not None and local.state is not _S.SHUT_OFF:
                detail = f"it is {local.state.value}"
                raise errors.HypervisorFailure(host=here.name, what="give the guest up", detail=detail)
            made = making.files_made_for(self._world, task.instance_uuid)
            here.guests.pop(task.instance_uuid, None)
            used = {disk.source for present in here.guests.values() for disk in present.spec.disks}
            kept = []
            for disk in plan.storage.copied if plan.storage else ():
                store = here.store_of(disk.source)
                if store is None or posixpath.basename(disk.source) not in store.files:
                    continue
                if disk.source in made.union(owned) and disk.source not in used:
                    store.remove(posixpath.basename(disk.source))
                else:
                    kept.append(disk.source)
            return tuple(kept)


def check_departure(fleet_world: world.World, here: fleet.Host, task: base.Task, plan: migration.Plan) -> base.Departure:
    """Say no when the guest may not leave, or classify its disks.

    :raises CheckFailed: naming what is in the way.
    """
    local = here.guests.get(task.instance_uuid)
    if local is None:
        raise errors.GuestNotFound(host=here.name, uuid=task.instance_uuid)
    if local.state not in _MOVABLE:
        raise errors.CannotMove(uuid=task.instance_uuid, why=f"it is {local.state.value}", instead="Let it run, or stop it, first.")
    if not local.spec.is_persistent:
        instead = "Define it at the hypervisor first."
        raise errors.CannotMove(uuid=task.instance_uuid, why="nothing of it would be left once it is off", instead=instead)
    checks.check_guest(here, fleet_world.copying, local)
    if plan.is_same_host or plan.facts is None:
        disks = tuple(migration.DiskPlan(disk=disk, treatment=migration.Treatment.SHARED) for disk in local.spec.disks)
        return base.Departure(storage=migration.StoragePlan(disks=disks), has_autostart=local.has_autostart)
    storage = checks.classify(here, local.spec, plan.facts)
    _check_copies(storage, plan.facts)
    sending.check_way(fleet_world, here, plan.facts)
    return base.Departure(storage=storage, has_autostart=local.has_autostart)


def _check_copies(storage: migration.StoragePlan, facts: migration.DestinationFacts) -> None:
    needed: dict[str, int] = {}
    for disk in storage.copied:
        if disk.source in facts.present_files:
            raise errors.DestinationDiskExists(host=facts.host, path=disk.source)
        directory = posixpath.dirname(disk.source)
        needed[directory] = needed.get(directory, 0) + disk.capacity_bytes
    for directory, size in needed.items():
        available = facts.free_bytes.get(directory, 0)
        if size > available:
            raise errors.InsufficientSpace(host=facts.host, path=directory, available_bytes=available, needed_bytes=size)


def resized(fleet_world: world.World, here: fleet.Host, task: base.Task, size: migration.Size | None) -> fleet.GuestSpec:
    """Give the guest as it is to be here, wherever it was, with its first disk grown in its file.

    :raises PreparationFailed: when a file of it is not here.
    """
    spec = next((host.guests[task.instance_uuid].spec for host in fleet_world.hosts_of(task.instance_uuid)), None)
    if spec is None or size is None:
        raise errors.PreparationFailed(host=here.name, uuid=task.instance_uuid, detail="its definition is not known")
    disks = list(spec.disks)
    for number, disk in enumerate(disks):
        store = here.store_of(disk.source) if disk.kind is guest.DiskKind.FILE and disk.source else None
        if disk.kind is not guest.DiskKind.FILE or not disk.source:
            continue
        if store is None or posixpath.basename(disk.source) not in store.files:
            raise errors.PreparationFailed(host=here.name, uuid=task.instance_uuid, detail=f"cannot access storage file {disk.source}")
        if number == 0 and size.root_gib << 30 > disk.capacity_bytes:
            store.grow(posixpath.basename(disk.source), size.root_gib << 30)
            disks[0] = dataclasses.replace(disk, capacity_bytes=size.root_gib << 30)
    return dataclasses.replace(spec, memory_mib=size.memory_mib, vcpus=size.vcpus, disks=tuple(disks))


def _reached(fleet_world: world.World, here: fleet.Host, task: base.Task, plan: migration.Plan) -> fleet.Host:
    if plan.facts is None:
        raise errors.TransferRefused(uuid=task.instance_uuid, detail="the plan has no facts of the destination")
    try:
        return sending.check_way(fleet_world, here, plan.facts)
    except errors.MigrationAddressUnreachable as error:
        raise errors.TransferRefused(uuid=task.instance_uuid, detail=error.message) from error


def _local(here: fleet.Host, instance_uuid: str) -> fleet.Guest:
    local = here.guests.get(instance_uuid)
    if local is None:
        raise errors.GuestNotFound(host=here.name, uuid=instance_uuid)
    return local
