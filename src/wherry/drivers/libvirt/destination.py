# SPDX-License-Identifier: Apache-2.0
"""What is done at a destination: disks made ready, the arrived guest taken in, the undo.

Never destroys a guest that runs or may be whole, and deletes no file but those that this migration wrote down as its own.
"""

from __future__ import annotations

import libvirt

from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import connection, console_log, job, observe, storage
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest, migration
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Keeps the firmware's variables (on shared storage they are the guest's own) and forgets what only libvirt knew. A saved state
#: (managed save) is deliberately not among them: libvirt then refuses, since it is some guest's memory.
UNDEFINE_FLAGS = (
    libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
#: Marks a created directory among the created files.
DIRECTORY_MARK = "/"


async def prepare(link: connection.Link, files: storage.Storage, task: base.Task, plan: migration.StoragePlan) -> None:
    """Create the copied disks that are missing, and the directories that they need."""
    for disk in plan.copied:
        try:
            await _prepare_disk(link, files, task, disk)
        except errors.HypervisorFailure as problem:
            raise errors.PreparationFailed(host=link.host, uuid=task.instance_uuid, detail=str(problem)) from problem


async def _prepare_disk(link: connection.Link, files: storage.Storage, task: base.Task, disk: guest.Disk) -> None:
    capacity = await link.call("look for a disk", files.capacity, disk.source, disk.format)
    if capacity is not None:
        if disk.source not in task.created:
            raise errors.PreparationFailed(
                host=link.host, uuid=task.instance_uuid, detail=f"there is a file {disk.source} already, which this migration did not make"
            )
        if capacity == disk.capacity_bytes:
            return
        # Ours, from a process that died while it was made: libvirt refuses to copy into a disk of another size.
        await link.call("delete a half-made disk", files.delete, disk.source)
    directory = disk.source.rpartition("/")[0]
    for missing in await link.call("look for a directory", files.missing_directories, directory):
        await task.record_created(missing + DIRECTORY_MARK)
        await link.call("create a directory", files.create_directory, missing)
    await task.record_created(disk.source)
    await link.call("create a disk", files.create, disk)


def finish(handle: libvirt.virConnect, instance_uuid: str, *, is_persistent: bool) -> None:
    """Make the arrived guest this host's own."""
    domain = observe.find(handle, instance_uuid)
    if domain is not None and is_persistent and not domain.isPersistent():
        # libvirt persists it as the last act of the migration; where that act was lost, it is made up for.
        handle.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE))


def remove_leftover(handle: libvirt.virConnect, instance_uuid: str) -> bool:
    """Remove a domain that is shut off, or that waits for a copy which no longer comes; give whether libvirt is still at it."""
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        return False
    state, current, detail = observe.read(domain)
    if state is guest.GuestState.PAUSED_FOR_SWITCH_OVER:
        if current.name == job.MIGRATION_IN:
            return True
        # Its memory is not complete: libvirt runs a guest, or leaves it paused/user, the moment that it is.
        domain.destroy()
        domain = observe.find(handle, instance_uuid)
        if domain is None:
            return False
        state = guest.GuestState.SHUT_OFF
    if state is not guest.GuestState.SHUT_OFF:
        _log.warning("the undo leaves an active domain alone", instance_uuid=instance_uuid, state=state.value, detail=detail)
        return False
    domain.undefineFlags(UNDEFINE_FLAGS)
    return False


def delete_created(handle: libvirt.virConnect, files: storage.Storage, created: frozenset[str]) -> None:
    """Delete the files and empty directories named as created by this migration, except what a domain here uses.

    With a console goes what it held before.
    """
    used = storage.used_paths(handle)
    paths = console_log.with_earlier(handle, files, sorted(path for path in created if not path.endswith(DIRECTORY_MARK)))
    for path in paths:
        if path in used:
            _log.warning("the undo keeps a file that a domain uses", path=path, instance_uuid=used[path])
        else:
            files.delete(handle, path)
    # The deepest first.
    for directory in sorted((path.rstrip("/") for path in created if path.endswith(DIRECTORY_MARK)), key=len, reverse=True):
        try:
            files.delete_directory(handle, directory)
        except libvirt.libvirtError as problem:
            _log.warning("a directory stays", path=directory, error=libvirt_errors.text(problem))
