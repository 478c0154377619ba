# SPDX-License-Identifier: Apache-2.0
"""Makes guests from images and removes guests. Deletes no file but those named as made for the guest that goes."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import libvirt

from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import capabilities, connection, console_log, destination, guest_cpu, guest_xml, image_cache, observe, storage
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import build, guest
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)

_GIB = 1 << 30
#: A guest that goes takes everything that libvirt kept for it along.
_REMOVE_FLAGS = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class GuestBuilder(abc.ABC):
    """That role of the driver of one host."""

    _maker: Maker

    @abc.abstractmethod
    async def _described(self, instance_uuid: str) -> guest.Guest:
        """Describe one guest, which must be here."""

    async def build_guest(self, task: base.Task, order: build.GuestOrder, fetch: base.FetchImage) -> guest.Guest:
        """Make the guest and start it."""
        await self._maker.make(task, order, fetch)
        return await self._described(order.uuid)

    async def destroy_guest(self, task: base.Task) -> None:
        """Remove the guest and what was made for it."""
        await self._maker.destroy(task)

    async def read_console(self, instance_uuid: str, most_bytes: int) -> str:
        """Give the end of the console."""
        return await self._maker.read_console(instance_uuid, most_bytes)


class Maker:
    """How it is done."""

    def __init__(self, link: connection.Link, files: storage.Storage, section: libvirt_config.LibvirtSection) -> None:
        self._link = link
        self._files = files
        self._section = section
        self._cache = image_cache.ImageCache(link, files, section)
        #: <cpu> elements with which a guest did not start here.
        self._refused_cpus: set[str] = set()

    async def make(self, task: base.Task, order: build.GuestOrder, fetch: base.FetchImage) -> None:
        """Make the guest and start it.

        :raises BuildFailed: when it could not.
        """
        try:
            await self._make(task, order, fetch)
        except (errors.HypervisorFailure, OSError) as problem:
            raise errors.BuildFailed(host=self._link.host, uuid=order.uuid, detail=str(problem)) from problem

    async def destroy(self, task: base.Task) -> None:
        """Remove the guest and what was made for it."""
        made = set(task.created)
        for path in await self._link.call("look what was made for the guest", _made_for, task.instance_uuid):
            # Named before the guest goes: after it nothing else would tell whose they were.
            await task.record_created(path)
            made.add(path)
        await self._link.call("remove the guest", _remove, task.instance_uuid)
        if made:
            await self._link.call("delete what was made", destination.delete_created, self._files, frozenset(made))

    async def read_console(self, instance_uuid: str, most_bytes: int) -> str:
        """Give the end of the console."""
        path = await self._link.call("look for the console", _console_of, self._link.host, instance_uuid)
        if not path:
            return ""
        return (await self._link.call("read the console", console_log.read_end, self._files, path, most_bytes)).decode(errors="replace")

    async def _make(self, task: base.Task, order: build.GuestOrder, fetch: base.FetchImage) -> None:
        directory = self._section.guest_directory
        disk, console = f"{directory}/{order.uuid}.qcow2", console_log.path_of(directory, order.uuid)
        earlier = await self._link.call("look for the guest", _made_earlier, order.uuid)
        if earlier is not None:
            if not earlier:
                # Defined by a process that died before it ran, perhaps with a CPU that does not start.
                await self._link.call("define the guest", self._define, order, disk, console)
            return
        for missing in await self._link.call("look for a directory", self._files.missing_directories, directory):
            await self._link.call("create a directory", self._files.create_directory, missing)
        with self._using(self._cache.path_of(order.image)) as below:
            await self._cache.bring(order.image, fetch)
            least = order.root_gib * _GIB
            await self._require_fit(order, below, least)
            present = await self._link.call("look for a disk", self._files.length, disk)
            if present is not None and disk not in task.created:
                raise errors.HypervisorFailure(host=self._link.host, what="create a disk", detail=f"there is a file {disk} already")
            if present is not None:
                # Of a process that died while it was made, or before the guest was defined: nothing has run on it.
                await self._link.call("delete a half-made disk", self._files.delete, disk)
            await task.record_created(disk)
            await task.record_created(console)
            await self._link.call("create a disk", self._files.create_overlay, disk, least, (below, order.image.disk_format))
            await self._link.call("define the guest", self._define, order, disk, console)

    async def _require_fit(self, order: build.GuestOrder, below: str, most_bytes: int) -> None:
        """Make sure that the image is no larger than the flavor's disk: an image service may not have known how large it is."""
        needed = await self._link.call("look at an image", self._files.capacity, below, order.image.disk_format) or 0
        if most_bytes and needed > most_bytes:
            detail = f"the image is a disk of {needed} bytes, the flavor's has {most_bytes}"
            raise errors.HypervisorFailure(host=self._link.host, what="create a disk", detail=detail)

    def _define(self, handle: libvirt.virConnect, order: build.GuestOrder, disk: str, console: str) -> None:
        found = capabilities.parse(handle.getCapabilities())
        frame = guest_xml.Frame(
            virtualization=self._virtualization(found.supported_types),
            architecture=found.architecture,
            machine=self._section.guest_machine_type,
            cpu=guest_cpu.DEFAULT,
            disk=disk,
            console=console,
            bridge=self._section.guest_bridge if order.has_network else "",
        )
        *others, last = guest_cpu.choices(
            self._section.cpu_mode,
            self._section.cpu_model,
            frame.virtualization,
            lambda: handle.getDomainCapabilities(None, frame.architecture, frame.machine, frame.virtualization),
        )
        for cpu in (each for each in others if each not in self._refused_cpus):
            try:
                _start(handle.defineXML(guest_xml.write(order, dataclasses.replace(frame, cpu=cpu))))
                return
            except libvirt.libvirtError as problem:
                if not guest_cpu.is_to_blame(str(problem)):
                    raise
                self._refused_cpus.add(cpu)
                _log.warning("A guest does not start with this CPU here; another is tried.", cpu=cpu, problem=libvirt_errors.text(problem))
        _start(handle.defineXML(guest_xml.write(order, dataclasses.replace(frame, cpu=last))))

    def _virtualization(self, supported: tuple[str, ...]) -> str:
        if self._section.virt_type != "auto":
            return self._section.virt_type
        return supported[0] if supported else "qemu"

    @contextlib.contextmanager
    def _using(self, path: str) -> Iterator[str]:
        """Keep an image while a guest is made from it, whose definition does not name it yet."""
        name = path.rpartition("/")[2]
        self._cache.in_use[name] = self._cache.in_use.get(name, 0) + 1
        try:
            yield path
        finally:
            self._cache.in_use[name] -= 1


def _made_earlier(handle: libvirt.virConnect, instance_uuid: str) -> bool | None:
    """Say whether a guest runs that an earlier try has defined; None where there is none.

    :raises HypervisorFailure: where the guest of this uuid is somebody else's.
    """
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        return None
    if not guest_xml.made_files(_definition(domain)):
        detail = "there is one of this uuid that was not made here"
        raise errors.HypervisorFailure(host=handle.getHostname(), what="make the guest", detail=detail)
    return bool(domain.isActive())


def _start(domain: libvirt.virDomain) -> None:
    try:
        domain.create()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or not domain.isActive():
            raise


def _made_for(handle: libvirt.virConnect, instance_uuid: str) -> list[str]:
    domain = observe.find(handle, instance_uuid)
    return [] if domain is None else guest_xml.made_files(_definition(domain))


def _remove(handle: libvirt.virConnect, instance_uuid: str) -> None:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        return
    is_persistent = bool(domain.isPersistent())
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW | libvirt_errors.ABSENT:
                raise
    if is_persistent:
        domain.undefineFlags(_REMOVE_FLAGS)


def _console_of(handle: libvirt.virConnect, host: str, instance_uuid: str) -> str:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        raise errors.GuestNotFound(host=host, uuid=instance_uuid)
    return guest_xml.console_file(_definition(domain))


def _definition(domain: libvirt.virDomain) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
