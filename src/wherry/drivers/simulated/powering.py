# SPDX-License-Identifier: Apache-2.0
"""What a simulated hypervisor does when its driver asks it to pause, resume, start, shut down or power off a guest."""

from __future__ import annotations

import abc
import contextlib

from wherry import errors
from wherry.drivers import base
from wherry.drivers.simulated import disturbances, fleet, sending, world
from wherry.drivers.simulated.course import emit
from wherry.model import guest

_S = guest.GuestState
#: Seconds that libvirt 9.0.0 waits in a resume during a migration before it refuses it.
_RESUME_LOCK_SECONDS = 30.0


class GuestPower(abc.ABC):
    """That role of a simulated driver."""

    def __init__(self, fleet_world: world.World) -> None:
        self._world = fleet_world

    @abc.abstractmethod
    def _calling(self, method: str, instance_uuid: str = "") -> contextlib.AbstractAsyncContextManager[fleet.Host]:
        """Make one call of the hypervisor: its effect is what is done inside."""

    async def pause_guest(self, instance_uuid: str) -> None:
        async with self._calling("pause_guest", instance_uuid) as here:
            pause(self._world, here, instance_uuid)

    async def resume_guest(self, instance_uuid: str) -> None:
        async with self._calling("resume_guest", instance_uuid) as here:
            await resume(self._world, here, instance_uuid)

    async def start_guest(self, instance_uuid: str) -> None:
        async with self._calling("start_guest", instance_uuid) as here:
            start(here, instance_uuid)

    async def shut_down_guest(self, instance_uuid: str) -> None:
        async with self._calling("shut_down_guest", instance_uuid) as here:
            shut_down(self._world, here, instance_uuid)

    async def power_off_guest(self, instance_uuid: str) -> None:
        async with self._calling("power_off_guest", instance_uuid) as here:
            power_off(self._world, here, instance_uuid)

    async def suspend_guest(self, instance_uuid: str) -> None:
        async with self._calling("suspend_guest", instance_uuid) as here:
            suspend(self._world, here, instance_uuid)


def suspend(fleet_world: world.World, here: fleet.Host, instance_uuid: str) -> None:
    """Save a guest's memory and take its power."""
    sending.require(here, here.profile.capabilities.suspend, "suspending a guest")
    local = _local_to_last(here, instance_uuid)
    if local.state is _S.SHUT_OFF:
        if not local.has_saved_memory:
            raise errors.HypervisorFailure(host=here.name, what="suspend the guest", detail="domain is not running")
        return
    disturbances.Disturbances(fleet_world).destroy_guest(here.name, instance_uuid)
    local.has_saved_memory = True


def pause(fleet_world: world.World, here: fleet.Host, instance_uuid: str) -> None:
    """Pause a running guest; one that is paused, for whatever reason, is fine.

    :raises Unsupported: where the hypervisor cannot, or not during a transfer.
    """
    local, flags = _local(here, instance_uuid), here.profile.capabilities
    if fleet_world.copying.job_at(here, instance_uuid) is not None:
        sending.require(here, flags.force_complete_by_pause, "pausing a guest during its transfer")
    else:
        sending.require(here, flags.pause, "pausing a guest")
    if local.state is _S.SHUT_OFF:
        raise errors.HypervisorFailure(host=here.name, what="pause the guest", detail="domain is not running")
    fleet_world.copying.pause(here, instance_uuid)


async def resume(fleet_world: world.World, here: fleet.Host, instance_uuid: str) -> None:
    """Let a paused guest run on; a running one is fine.

    :raises HypervisorFailure: during a transfer, after a while, as libvirt does; and for a guest that is not active.
    """
    if _local(here, instance_uuid).state is _S.RUNNING:
        return
    if fleet_world.copying.job_at(here, instance_uuid) is not None:
        await fleet_world.time.sleep(_RESUME_LOCK_SECONDS)
        raise errors.HypervisorFailure(host=here.name, what="resume the guest", detail="cannot acquire state change lock")
    local = _local(here, instance_uuid)
    if local.state not in (_S.PAUSED, _S.PAUSED_FOR_SWITCH_OVER):
        raise errors.HypervisorFailure(host=here.name, what="resume the guest", detail=f"it is {local.state.value}")
    fleet_world.copying.resume(here, instance_uuid)


def start(here: fleet.Host, instance_uuid: str) -> None:
    """Start a guest that is off, where its disks are; an active one is fine."""
    sending.require(here, here.profile.capabilities.power, "starting a guest")
    local = _local(here, instance_uuid)
    if local.state is not _S.SHUT_OFF:
        return
    for disk in local.spec.disks:
        if disk.kind is guest.DiskKind.FILE and disk.source and not here.has_file(disk.source):
            raise errors.HypervisorFailure(host=here.name, what="start the guest", detail=f"cannot access storage file {disk.source}")
    local.state, local.has_inactive_images, local.has_saved_memory = _S.RUNNING, False, False
    local.was_resumed_by_job = False
    local.boots += 1
    emit(here, base.SignalKind.LIFECYCLE, instance_uuid, "started")


def shut_down(fleet_world: world.World, here: fleet.Host, instance_uuid: str) -> None:
    """Press the guest's power button; one that runs and heeds it is off after its time."""
    sending.require(here, here.profile.capabilities.power, "shutting down a guest")
    local = _local_to_last(here, instance_uuid)
    if local.state is not _S.RUNNING or local.spec.shutdown_seconds is None:
        return

    boot = local.boots

    def go_down() -> None:
        # One that was powered off and started meanwhile has forgotten that its button was pressed.
        if here.guests.get(instance_uuid) is local and local.boots == boot and local.state is _S.RUNNING:
            disturbances.Disturbances(fleet_world).shut_down_guest(here.name, instance_uuid)

    fleet_world.time.after(local.spec.shutdown_seconds, go_down)


def power_off(fleet_world: world.World, here: fleet.Host, instance_uuid: str) -> None:
    """Take the power from a guest."""
    sending.require(here, here.profile.capabilities.power, "powering off a guest")
    local = _local_to_last(here, instance_uuid)
    local.has_saved_memory = False
    if local.state is not _S.SHUT_OFF:
        disturbances.Disturbances(fleet_world).destroy_guest(here.name, instance_uuid)


def _local(here: fleet.Host, instance_uuid: str) -> fleet.Guest:
    local = here.guests.get(instance_uuid)
    if local is None:
        raise errors.GuestNotFound(host=here.name, uuid=instance_uuid)
    return local


def _local_to_last(here: fleet.Host, instance_uuid: str) -> fleet.Guest:
    local = _local(here, instance_uuid)
    if not local.spec.is_persistent:
        raise errors.GuestNotLasting(host=here.name, uuid=instance_uuid)
    return local
