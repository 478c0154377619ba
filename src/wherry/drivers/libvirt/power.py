# SPDX-License-Identifier: Apache-2.0
"""What is done to a guest where it is: pause, resume, start, shut down, power off. Touches neither definition nor disk."""

from __future__ import annotations

import libvirt

from wherry import errors
from wherry.drivers.libvirt import connection, observe
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest


class GuestPower:
    """That role of the driver of one host."""

    def __init__(self, link: connection.Link, suspend_timeout_seconds: float) -> None:
        self._link = link
        self._suspend_timeout_seconds = suspend_timeout_seconds

    async def pause_guest(self, instance_uuid: str) -> None:
        """Pause the guest; a transfer goes on."""
        await self._link.call("pause the guest", pause, self._link.host, instance_uuid)

    async def resume_guest(self, instance_uuid: str) -> None:
        """Let the guest run on."""
        await self._link.call("resume the guest", resume, self._link.host, instance_uuid)

    async def start_guest(self, instance_uuid: str) -> None:
        """Start the guest."""
        seconds, host = self._suspend_timeout_seconds, self._link.host
        await self._link.call_within(seconds, "start the guest", lambda handle: start(handle, host, instance_uuid))

    async def shut_down_guest(self, instance_uuid: str) -> None:
        """Ask the guest to shut itself down."""
        await self._link.call("shut the guest down", shut_down, self._link.host, instance_uuid)

    async def power_off_guest(self, instance_uuid: str) -> None:
        """Take the guest's power."""
        await self._link.call("power the guest off", power_off, self._link.host, instance_uuid)

    async def suspend_guest(self, instance_uuid: str) -> None:
        """Save the guest's memory."""
        seconds, host = self._suspend_timeout_seconds, self._link.host
        await self._link.call_within(seconds, "suspend the guest", lambda handle: suspend(handle, host, instance_uuid))


def pause(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Suspend the guest. During its migration libvirt shows it as paused/migration, and resumes it by itself after an abort."""
    domain = _require(handle, host, instance_uuid)
    try:
        domain.suspend()
    except libvirt.libvirtError:
        if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            raise


def resume(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Let the guest run on. libvirt refuses while a migration is under way, after 30 s of waiting for its lock."""
    domain = _require(handle, host, instance_uuid)
    state, current, _ = observe.read(domain)
    if state is guest.GuestState.RUNNING:
        return
    if current.name:
        raise errors.HypervisorFailure(host=host, what="resume the guest", detail=f"the job {current.name} is under way")
    try:
        domain.resume()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            raise


def start(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Start a defined domain; an active one is fine, also one that became so meanwhile."""
    domain = _require(handle, host, instance_uuid)
    if domain.isActive():
        return
    try:
        domain.create()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or not domain.isActive():
            raise


def shut_down(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Press the ACPI power button. Not through the guest's agent: one that hangs would keep the call for its own time-out."""
    domain = _require_lasting(handle, host, instance_uuid)
    try:
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or domain.isActive():
            raise


def power_off(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """End the guest's QEMU, which first writes out what it has been given to write; killed when it does not end."""
    domain = _require_lasting(handle, host, instance_uuid)
    try:
        domain.destroy()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or domain.isActive():
            raise
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()


def suspend(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Save the guest's memory where libvirt keeps it (managed save): the next start reads it."""
    domain = _require_lasting(handle, host, instance_uuid)
    try:
        domain.managedSave()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or domain.isActive() or not domain.hasManagedSaveImage():
            raise


def _require(handle: libvirt.virConnect, host: str, instance_uuid: str) -> libvirt.virDomain:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        raise errors.GuestNotFound(host=host, uuid=instance_uuid)
    return domain


def _require_lasting(handle: libvirt.virConnect, host: str, instance_uuid: str) -> libvirt.virDomain:
    domain = _require(handle, host, instance_uuid)
    if not domain.isPersistent():
        raise errors.GuestNotLasting(host=host, uuid=instance_uuid)
    return domain
