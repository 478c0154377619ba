# SPDX-License-Identifier: Apache-2.0
"""What a simulated hypervisor does when its driver asks it to make a guest, and to remove one."""

from __future__ import annotations

import abc
import contextlib
import posixpath

from wherry import errors
from wherry.drivers import base
from wherry.drivers.simulated import describing, disturbances, fleet, sending, world
from wherry.drivers.simulated.course import emit
from wherry.model import build, guest, migration


class GuestBuilder(abc.ABC):
    """That role of a simulated driver."""

    def __init__(self, fleet_world: world.World) -> None:
        self._world = fleet_world

    @abc.abstractmethod
    def _calling(self, method: str, instance_uuid: str = "") -> contextlib.AbstractAsyncContextManager[fleet.Host]:
        """Make one call of the hypervisor: its effect is what is done inside."""

    async def build_guest(self, task: base.Task, order: build.GuestOrder, fetch: base.FetchImage) -> guest.Guest:
        # No guest reads it; that it can be had is all.
        async with fetch(), self._calling("build_guest", task.instance_uuid) as here:
            local = here.guests.get(order.uuid) or await _make(self._world, here, task, order)
            sending.require(here, here.profile.capabilities.build, "making a guest")
            if not local.spec.made_files:
                detail = "there is one of this uuid that was not made here"
                raise errors.BuildFailed(host=here.name, uuid=order.uuid, detail=detail)
            return describing.describe_guest(here, self._world.copying, local)

    async def destroy_guest(self, task: base.Task) -> None:
        async with self._calling("destroy_guest", task.instance_uuid) as here:
            await _remove(self._world, here, task)

    async def read_console(self, instance_uuid: str, most_bytes: int) -> str:
        async with self._calling("read_console", instance_uuid) as here:
            sending.require(here, here.profile.capabilities.build, "reading a guest's console")
            local = here.guests.get(instance_uuid)
            if local is None:
                raise errors.GuestNotFound(host=here.name, uuid=instance_uuid)
            return local.spec.console[-most_bytes:]


def files_made_for(fleet_world: world.World, instance_uuid: str) -> frozenset[str]:
    """Give the files that were made for a guest, as its definition says wherever it is."""
    return frozenset(path for host in fleet_world.hosts_of(instance_uuid) for path in host.guests[instance_uuid].spec.made_files)


def remove_left_behind(fleet_world: world.World, here: fleet.Host, instance_uuid: str, plan: migration.Plan) -> None:
    """Delete the files that were made for a guest and were copied to where it went, also where it is nowhere any more."""
    copied = {disk.source for disk in plan.storage.copied} if plan.storage else set()
    others = list(fleet_world.hosts_of(instance_uuid))
    for path in copied:
        store = here.store_of(path)
        is_made = posixpath.basename(path) == _file_of(instance_uuid)
        if is_made and store is not None and all(store is not other.store_of(path) for other in others):
            store.remove(posixpath.basename(path))


def _file_of(instance_uuid: str) -> str:
    return f"{instance_uuid}.qcow2"


def _directory_of(fleet_world: world.World, here: fleet.Host) -> str:
    """Choose where a guest's disk is made: as with libvirt a directory of the host's own, where it has one."""
    if fleet.DEFAULT_DIRECTORY in here.stores:
        return fleet.DEFAULT_DIRECTORY
    mounted = [store for other in fleet_world.hosts.values() for store in other.stores.values()]
    return next((path for path, store in here.stores.items() if mounted.count(store) == 1), next(iter(here.stores)))


async def _make(fleet_world: world.World, here: fleet.Host, task: base.Task, order: build.GuestOrder) -> fleet.Guest:
    sending.require(here, here.profile.capabilities.build, "making a guest")
    directory = _directory_of(fleet_world, here)
    path = f"{directory}/{_file_of(order.uuid)}"
    capacity_bytes = max(order.root_gib * fleet.GIB, order.image.virtual_bytes or order.image.size_bytes)
    await task.record_created(path)
    store = here.stores[directory]
    if store.free_bytes < capacity_bytes and posixpath.basename(path) not in store.files:
        detail = f"{store.free_bytes} bytes are free in {directory}, {capacity_bytes} are needed"
        raise errors.BuildFailed(host=here.name, uuid=order.uuid, detail=detail)
    store.add(posixpath.basename(path), capacity_bytes, f"{order.uuid} vda")
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=path, format="qcow2", capacity_bytes=capacity_bytes, cache="none")
    bridge = next(iter(sorted(here.bridges)), "") if order.has_network else ""
    spec = fleet.GuestSpec(
        uuid=order.uuid,
        name=order.name,
        memory_mib=order.memory_mib,
        vcpus=order.vcpus,
        hypervisor_type=here.profile.supported_types[0],
        disks=(disk,),
        interfaces=(guest.Interface(kind="bridge", name=bridge),) if bridge else (),
        project_id=order.project_id,
        made_files=(path,),
        console=f"{order.image.name} boots on {here.name}\nmemory: {order.memory_mib} MiB\nprocessors: {order.vcpus}\ndisk: {path}\n",
    )
    here.guests[order.uuid] = fleet.Guest(spec)
    emit(here, base.SignalKind.LIFECYCLE, order.uuid, "started")
    return here.guests[order.uuid]


async def _remove(fleet_world: world.World, here: fleet.Host, task: base.Task) -> None:
    sending.require(here, here.profile.capabilities.build, "removing a guest")
    local = here.guests.get(task.instance_uuid)
    made = set(task.created)
    if local is not None:
        if fleet_world.copying.job_at(here, task.instance_uuid) is not None:
            raise errors.HypervisorFailure(host=here.name, what="remove the guest", detail="its migration is under way")
        for path in local.spec.made_files:
            # Named before the guest goes: after it nothing else would tell whose they were.
            await task.record_created(path)
            made.add(path)
        if local.state is not guest.GuestState.SHUT_OFF:
            disturbances.Disturbances(fleet_world).destroy_guest(here.name, task.instance_uuid)
        here.guests.pop(task.instance_uuid, None)
        emit(here, base.SignalKind.LIFECYCLE, task.instance_uuid, "removed")
    used = {disk.source for present in here.guests.values() for disk in present.spec.disks} if made else set()
    for path in sorted(made - used):
        store = here.store_of(path)
        if store is not None:
            store.remove(posixpath.basename(path))
