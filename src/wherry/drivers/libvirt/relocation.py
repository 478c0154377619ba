# SPDX-License-Identifier: Apache-2.0
"""Moves of guests that are off, and other sizes: that role of the libvirt driver. Starts no guest.

Disks go by streams of libvirt's own between the two daemons, through this process: no file system of either host is touched otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import posixpath
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import TYPE_CHECKING

import libvirt

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import (
    capabilities,
    connection,
    console_log,
    departure,
    describe,
    destination,
    domain_xml,
    guest_xml,
    observe,
    power,
    sending,
    sized_xml,
    source,
    storage,
)
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest, migration, progress
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)
#: Begins the names of the images that are made of a chain to be sent as one.
_FLAT_PREFIX = ".wherry-flat-"
_OFF = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """One file to be sent."""

    path: str
    target: str
    length_bytes: int


class GuestRelocation:
    """That role of the driver of one host."""

    _link: connection.Link
    _files: storage.Storage
    _section: libvirt_config.LibvirtSection
    _clock: wherry_clock.Clock

    async def check_departure(self, task: base.Task, plan: migration.Plan) -> base.Departure:
        """Check that the guest may be shut down here and leave."""
        found = await self._link.call("check the departure", departure.check, self._files, self._link.host, plan)
        if not plan.is_same_host and plan.facts is not None and found.storage.copied:
            await self._check_reached(plan.facts)
        return found

    async def prepare_arrival(self, task: base.Task, plan: migration.Plan) -> None:
        """Make the files into which disks will be sent."""
        for disk in _sent(plan):
            try:
                await self._prepare(task, disk)
            except errors.HypervisorFailure as problem:
                raise errors.PreparationFailed(host=self._link.host, uuid=task.instance_uuid, detail=problem.message) from problem
        if plan.is_same_host:
            return
        for path in sorted(source.left_behind(plan).difference(disk.source for disk in _sent(plan))):
            # The console's file appears when the guest starts here: an undo takes it away again.
            if await self._link.call("look for a file", self._files.length, path) is None:
                await task.record_created(path)

    async def retire_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Take the guest's power and its autostart."""
        return await self._link.call("take the guest's power", _retire, self._link.host, task.instance_uuid)

    async def send_disks(self, task: base.Task, plan: migration.Plan, report: Callable[[progress.Progress], None]) -> None:
        """Send the disks."""
        await self._clear_flats(task.created)
        if plan.facts is None or not _sent(plan):
            return
        flats = {disk.source: _flat_of(task, disk.source) for disk in _sent(plan) if disk.backing}
        for flat in flats.values():
            await task.record_created(flat)
        loop, stop = asyncio.get_running_loop(), threading.Event()
        total = sum(disk.capacity_bytes for disk in _sent(plan))

        def tell(sent: int, length: int) -> None:
            done = min(sent, length)
            counters = progress.Progress(disk_total_bytes=length, disk_processed_bytes=done, disk_remaining_bytes=length - done)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(report, counters)

        work = functools.partial(self._send, plan, flats, stop, tell)
        tell(0, total)
        async with self._lane() as lane:
            sending_task = asyncio.create_task(self._link.run_transfer(lane, work), name=f"send {task.operation_id}")
            try:
                await asyncio.shield(sending_task)
            except asyncio.CancelledError:
                stop.set()
                # Until it has stopped, what it writes to may not be deleted.
                await asyncio.wait({sending_task})
                raise
            except (errors.HypervisorFailure, errors.HypervisorUnavailable) as problem:
                raise errors.TransferRefused(uuid=task.instance_uuid, detail=problem.message) from problem
        await self._clear_flats(flats.values())

    async def receive_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Define the guest at its new size."""
        try:
            return await self._link.call("take the guest in", _receive, self._files, self._link.host, plan)
        except errors.HypervisorFailure as problem:
            raise errors.PreparationFailed(host=self._link.host, uuid=task.instance_uuid, detail=problem.message) from problem

    async def restore_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Have the guest as it was."""
        await self._clear_flats(task.created)
        return await self._link.call("take the guest up again", _restore, self._link.host, plan)

    async def discard_guest(self, task: base.Task, plan: migration.Plan) -> None:
        """Remove the guest and what was made for it."""
        await self._link.call("remove the guest", _discard, task.instance_uuid)
        if task.created:
            await self._link.call("delete what was created", destination.delete_created, self._files, task.created)

    async def release_guest(self, task: base.Task, plan: migration.Plan, owned: Collection[str]) -> tuple[str, ...]:
        """Give up what was kept."""
        await self._clear_flats(task.created)
        # Those that were made for the guest here are as much ours as those that a migration brought.
        made = guest_xml.made_files(plan.guest.definition) if plan.guest is not None else []
        sent = [disk.source for disk in _sent(plan)]
        paths = [*sent, *(path for path in made if path not in sent)] if sent else []
        await self._link.call("give the guest up", _release, self._link.host, task.instance_uuid)
        return await self._link.call("delete its disks", _delete_owned, self._files, paths, frozenset(owned).union(made))

    # ---------------------------------------------------------------- inside

    async def _prepare(self, task: base.Task, disk: guest.Disk) -> None:
        if await self._link.call("look for a disk", self._files.length, disk.source) is not None:
            if disk.source in task.created:
                return
            detail = f"there is a file {disk.source} already, which this migration did not make"
            raise errors.PreparationFailed(host=self._link.host, uuid=task.instance_uuid, detail=detail)
        for missing in await self._link.call("look for a directory", self._files.missing_directories, posixpath.dirname(disk.source)):
            await task.record_created(missing + destination.DIRECTORY_MARK)
            await self._link.call("create a directory", self._files.create_directory, missing)
        await task.record_created(disk.source)
        await self._link.call("create a file", self._files.create_blank, disk.source, 0)

    @contextlib.asynccontextmanager
    async def _lane(self) -> AsyncIterator[connection.TransferLane]:
        """Lend a connection for a move; wait while live migrations have all of them."""
        async with contextlib.AsyncExitStack() as stack:
            lane: connection.TransferLane | None = None
            while lane is None:
                try:
                    lane = await stack.enter_async_context(self._link.transfer_lane())
                except errors.HypervisorFailure:
                    await self._clock.sleep(self._section.start_poll_interval_seconds)
            yield lane

    async def _clear_flats(self, named: Collection[str]) -> None:
        """Delete the images that were made of chains."""
        for path in sorted(named):
            if posixpath.basename(path).startswith(_FLAT_PREFIX):
                await self._link.call("delete a flattened image", self._files.delete, path)

    async def _check_reached(self, facts: migration.DestinationFacts) -> None:
        """Make sure that this process reaches the destination's daemon, as the move will have to."""
        seconds, problem = self._section.reachability_timeout_seconds, ""
        # On a lane of the moves': an attempt that hangs, for minutes perhaps, must not keep control calls waiting.
        async with self._lane() as lane:
            attempt = asyncio.create_task(self._link.run_transfer(lane, lambda _: connection.dispose(self._open_target(facts))))
            try:
                await asyncio.wait_for(attempt, seconds)
            except TimeoutError:
                problem = f"no answer within {seconds:g} s"
            except errors.HypervisorUnavailable as error:
                problem = error.message
        if problem:
            raise errors.MigrationAddressUnreachable(source=self._link.host, host=facts.host, address=facts.connection_uri, detail=problem)

    def _open_target(self, facts: migration.DestinationFacts) -> libvirt.virConnect:
        """Open a connection to the destination's daemon, and to no other, from where this process runs.

        That is the source's machine as a rule, where the address works at which its daemon reaches the other one. A process that serves
        several hosts from elsewhere has ways of its own.
        """
        problem: errors.HypervisorUnavailable | None = None
        for uri in dict.fromkeys((facts.connection_uri, facts.agent_uri)):
            try:
                opened = connection.open_at(uri, facts.host, self._section) if uri else None
            except errors.HypervisorUnavailable as error:
                problem = problem or error
                continue
            if opened is None:
                continue
            if capabilities.parse(opened.getCapabilities()).uuid == facts.hypervisor_uuid:
                return opened
            # "qemu:///system" is another daemon on each machine.
            connection.dispose(opened)
        raise problem or libvirt_errors.unavailable(facts.host, f"{facts.connection_uri} leads to another hypervisor")

    def _send(
        self,
        plan: migration.Plan,
        flats: dict[str, str],
        stop: threading.Event,
        tell: Callable[[int, int], None],
        handle: libvirt.virConnect,
    ) -> None:
        """Run in the lane's thread: open the destination, flatten what must be, send everything."""
        facts = plan.facts
        if facts is None:
            raise errors.Internal(detail="disks were to be sent before the checks had filled the plan")
        target = self._open_target(facts)
        try:
            target_files = storage.Storage(facts.host, self._section.call_timeout_seconds)
            there = functools.partial(_has_same, self._files, handle, target_files, target)
            files = list(_files_of(self._files, handle, plan, flats, there))
            total = sum(file.length_bytes for file in files)
            errand = sending.Errand(
                source=handle,
                target=target,
                source_files=self._files,
                target_files=target_files,
                stop=stop,
                tell=lambda sent: tell(sent, total),
            )
            for file in files:
                errand.send(file.path, file.target, file.length_bytes)
            tell(total, total)
        except (sending.Stopped, storage.DirectoryMissing) as problem:
            raise errors.HypervisorFailure(host=self._link.host, what="send the disks", detail=str(problem) or "stopped") from problem
        finally:
            connection.dispose(target)


def _files_of(
    files: storage.Storage,
    handle: libvirt.virConnect,
    plan: migration.Plan,
    flats: dict[str, str],
    is_there: Callable[[str], bool],
) -> Iterator[_File]:
    """Give what is sent for each disk: its file, or where the images below it are not at the destination, one made of them all."""
    for disk in _sent(plan):
        image = files.image(handle, disk.source, disk.format)
        if image is None:
            raise storage.DirectoryMissing(f"{disk.source} is gone")
        path, below = disk.source, files.chain(handle, image)
        if below and not all(is_there(one) for one in below):
            path = flats.get(disk.source) or disk.source
            files.flatten(handle, disk.source, path, disk.format)
        length = files.length(handle, path)
        if length is None:
            raise storage.DirectoryMissing(f"{path} was not made")
        yield _File(path=path, target=disk.source, length_bytes=length)


def _has_same(
    files: storage.Storage, handle: libvirt.virConnect, target_files: storage.Storage, target: libvirt.virConnect, path: str
) -> bool:
    """Whether the destination has an image of this path and length: those that nobody writes are kept under one name everywhere."""
    here = files.length(handle, path)
    return here is not None and here == sending.patiently(lambda: target_files.length(target, path))


def _sent(plan: migration.Plan) -> tuple[guest.Disk, ...]:
    return plan.storage.copied if plan.storage is not None and not plan.is_same_host else ()


def _flat_of(task: base.Task, path: str) -> str:
    directory, name = posixpath.split(path)
    return f"{directory}/{_FLAT_PREFIX}{task.operation_id}-{name}"


def _require(handle: libvirt.virConnect, host: str, instance_uuid: str) -> libvirt.virDomain:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        raise errors.GuestNotFound(host=host, uuid=instance_uuid)
    return domain


def _retire(handle: libvirt.virConnect, host: str, instance_uuid: str) -> guest.Guest:
    domain = _require(handle, host, instance_uuid)
    if domain.isActive():
        power.power_off(handle, host, instance_uuid)
    if domain.autostart():
        domain.setAutostart(0)
    return domain_xml.parse_guest(domain.XMLDesc(_OFF), guest.GuestState.SHUT_OFF)


def _receive(handle: libvirt.virConnect, files: storage.Storage, host: str, plan: migration.Plan) -> guest.Guest:
    coming, size = plan.guest, plan.new_size
    if coming is None:
        raise errors.Internal(detail="a guest was to be taken in before it was described")
    domain = observe.find(handle, coming.uuid)
    if domain is None or not domain.isActive():
        seen = {disk.name: files.image(handle, disk.source, disk.format) for disk in _sent(plan)}
        alone = {name for name, image in seen.items() if image is not None and not image.backing}
        text = domain_xml.without_images_below(coming.definition, alone) or coming.definition
        if size is not None:
            first = next((disk for disk in coming.disks if disk.device == "disk"), None)
            if first is not None and first.kind is guest.DiskKind.FILE:
                files.grow(handle, first.source, first.format, size.root_gib << 30)
        domain = handle.defineXML(sized_xml.with_size(text, size))
        if bool(domain.autostart()) != plan.has_autostart:
            domain.setAutostart(int(plan.has_autostart))
    return domain_xml.parse_guest(describe.definition_of(domain), guest.GuestState.SHUT_OFF)


def _restore(handle: libvirt.virConnect, host: str, plan: migration.Plan) -> guest.Guest:
    leaving = plan.guest
    if leaving is None:
        raise errors.Internal(detail="a guest was to be taken up again before it was described")
    domain = observe.find(handle, leaving.uuid)
    if domain is None:
        _log.warning("a guest is defined again from what was kept of it", instance_uuid=leaving.uuid, host=host)
    was_redefined = plan.is_same_host and plan.is_destination_commanded and domain is not None and not domain.isActive()
    if domain is None or was_redefined:
        domain = handle.defineXML(leaving.definition)
    if bool(domain.autostart()) != plan.has_autostart:
        domain.setAutostart(int(plan.has_autostart))
    return domain_xml.parse_guest(describe.definition_of(domain), guest.GuestState.SHUT_OFF)


def _discard(handle: libvirt.virConnect, instance_uuid: str) -> None:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        return
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or domain.isActive():
                raise
    domain.undefineFlags(destination.UNDEFINE_FLAGS)


def _release(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        return
    if domain.isActive():
        raise errors.HypervisorFailure(host=host, what="give the guest up", detail="it is active here")
    domain.undefineFlags(destination.UNDEFINE_FLAGS)


def _delete_owned(handle: libvirt.virConnect, files: storage.Storage, paths: list[str], owned: frozenset[str]) -> tuple[str, ...]:
    used, kept = storage.used_paths(handle), []
    # With a console goes what it held before.
    ours = frozenset(console_log.with_earlier(handle, files, owned))
    for path in console_log.with_earlier(handle, files, paths):
        if path in ours and path not in used:
            files.delete(handle, path)
        elif files.length(handle, path) is not None:
            kept.append(path)
    return tuple(kept)
