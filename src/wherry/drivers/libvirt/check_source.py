# SPDX-License-Identifier: Apache-2.0
"""Whether a guest may leave this host, and which of its disks travel. Changes nothing."""

from __future__ import annotations

import dataclasses
import posixpath
from typing import TYPE_CHECKING

import libvirt

from wherry import errors
from wherry.drivers.libvirt import arrival, capabilities, domain_xml, observe, storage
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest, migration

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_COHERENT_CACHES = frozenset({"none", "directsync"})
#: A page of this size takes a second over 10 Gbit/s.
_LARGEST_KIB_FETCHED_QUICKLY = 1 << 20
_MOVABLE = frozenset({guest.GuestState.RUNNING, guest.GuestState.PAUSED})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of a source."""

    #: Name of this host.
    host: str
    leaving: guest.Guest
    request: migration.LiveMigrationRequest
    facts: migration.DestinationFacts
    #: Whether the agent knows that the guest was paused when it last came here.
    has_arrived_paused: bool = False


def check_guest(connection: libvirt.virConnect, question: Question) -> None:
    """Check that nothing about the guest itself forbids its leaving.

    :raises CheckFailed: with the first reason found.
    """
    leaving = question.leaving
    domain = observe.find(connection, leaving.uuid)
    if domain is None:
        raise errors.GuestNotFound(host=question.host, uuid=leaving.uuid)
    # Read again: what was described may have changed while the migration was queued.
    state, current, _ = observe.read(domain)
    if current.name:
        raise errors.JobActive(job=current.name, host=question.host)
    if state not in _MOVABLE:
        raise errors.GuestNotRunning(uuid=leaving.uuid, state=state.value)
    if leaving.passthrough_devices:
        raise errors.PassthroughDevice(device=leaving.passthrough_devices[0])
    if leaving.memory_encryption:
        raise errors.MemoryEncrypted(kind=leaving.memory_encryption)
    if state is guest.GuestState.PAUSED and arrival.is_paused_since(
        connection, domain, leaving, has_arrived_paused=question.has_arrived_paused
    ):
        raise errors.PausedSinceArrival(host=question.host)
    count = domain.snapshotNum()
    if count:
        raise errors.SnapshotsPresent(count=count)
    for disk in leaving.disks:
        if disk.source and disk.device == "disk" and has_block_job(domain, disk):
            raise errors.JobActive(job=f"block job of {disk.name}", host=question.host)


def classify(
    connection: libvirt.virConnect, question: Question, files: storage.Storage, section: libvirt_config.LibvirtSection
) -> migration.StoragePlan:
    """Say for each disk whether it is shared, copied or neither.

    A directory is shared when the probe that the destination made in it is seen here.

    :raises CheckFailed: when that is not what was asked for, or cannot be done.
    """
    leaving, facts = question.leaving, question.facts
    shared_directories = {probe.directory for probe in facts.probes if probe.name in files.names(connection, probe.directory)}
    plans = [migration.DiskPlan(disk=disk, treatment=treatment_of(disk, shared_directories)) for disk in leaving.disks]
    copied = [plan.disk for plan in plans if plan.treatment is migration.Treatment.COPIED]
    shared = [plan.disk for plan in plans if plan.treatment is migration.Treatment.SHARED]
    _check_wish(question, copied, shared)
    for disk in copied:
        _check_copy(question, disk, section)
    _check_space(question, {disk: _needed(connection, question, files, disk) for disk in copied})
    for disk in shared:
        _check_cache(disk, min(facts.hypervisor_version, connection.getVersion()))
    return migration.StoragePlan(disks=tuple(plans), warnings=(*_warnings(copied, shared), *_of_pages(leaving, section)))


def is_proven_coherent(plan: migration.StoragePlan) -> bool:
    """Whether libvirt may be told that shared storage is safe: each shared file was proven by a probe, and its cache mode checked.

    libvirt itself only believes the network file systems that it knows by name. Without a shared file there is nothing to vouch for.
    """
    return any(item.treatment is migration.Treatment.SHARED and item.disk.kind is guest.DiskKind.FILE for item in plan.disks)


def treatment_of(disk: guest.Disk, shared_directories: set[str]) -> migration.Treatment:
    """Say what happens to a disk when these directories are shared."""
    if not disk.source or disk.kind is guest.DiskKind.NONE or disk.device != "disk" or disk.read_only:
        # Read-only media were looked for by the destination's check; libvirt never copies them.
        return migration.Treatment.NONE
    if disk.kind is not guest.DiskKind.FILE:
        return migration.Treatment.SHARED
    is_shared = posixpath.dirname(disk.source) in shared_directories
    return migration.Treatment.SHARED if is_shared else migration.Treatment.COPIED


def _check_wish(question: Question, copied: list[guest.Disk], shared: list[guest.Disk]) -> None:
    wish, destination = question.request.block_migration, question.facts.host
    if wish is True and any(disk.kind is guest.DiskKind.FILE for disk in shared):
        raise errors.StorageShared(host=destination)
    if wish is False and copied:
        raise errors.StorageNotShared(host=destination)


def _check_copy(question: Question, disk: guest.Disk, section: libvirt_config.LibvirtSection) -> None:
    destination = question.facts.host
    if disk.shareable:
        # Other guests write it too: a copy would be another disk than theirs.
        raise errors.StorageNotShared(host=destination)
    missing = ""
    if section.live_migration_tunnelled:
        missing, instead = "copy disks through a tunnel", "Set [libvirt] live_migration_tunnelled = false, or use shared storage."
    elif disk.format not in storage.FORMATS:
        missing, instead = f"create a disk of format {disk.format}", f"Convert {disk.name} to qcow2 or raw, or use shared storage."
    elif not disk.capacity_bytes:
        missing, instead = (
            f"copy {disk.name}, whose size libvirt does not tell",
            "Look at the disk at the source; its QEMU does not answer for it.",
        )
    if missing:
        raise errors.CapabilityMissing(driver=capabilities.DRIVER, host=question.host, ability=missing, instead=instead)
    if disk.source in question.facts.present_files:
        raise errors.DestinationDiskExists(host=destination, path=disk.source)


def _needed(connection: libvirt.virConnect, question: Question, files: storage.Storage, disk: guest.Disk) -> int:
    """Give the full size where the request (up to 2.24) forbids over-commit; otherwise what the disk takes now, as no copy takes less."""
    if question.request.disk_over_commit is False:
        return disk.capacity_bytes
    taken = files.allocation(connection, disk.source)
    if disk.backing.startswith("/"):
        taken += files.allocation(connection, disk.backing)
    # An overlay and what is below it may hold the same place twice; the copy holds it once.
    return min(taken, disk.capacity_bytes)


def _check_space(question: Question, sizes: dict[guest.Disk, int]) -> None:
    needed: dict[str, int] = {}
    for disk, size in sizes.items():
        directory = posixpath.dirname(disk.source)
        needed[directory] = needed.get(directory, 0) + size
    for directory, size in needed.items():
        available = question.facts.free_bytes.get(directory, 0)
        if size > available:
            raise errors.InsufficientSpace(host=question.facts.host, path=directory, available_bytes=available, needed_bytes=size)


def _check_cache(disk: guest.Disk, hypervisor_version: int) -> None:
    if disk.kind is not guest.DiskKind.FILE or disk.cache in _COHERENT_CACHES:
        return
    # "unsafe" ignores flushes, so the source's last writes may exist only in its memory. Other modes are coherent since QEMU
    # flushes at the source's end and drops its cache at the destination's start.
    if disk.cache == "unsafe" or hypervisor_version < capabilities.CACHE_DROPPING_QEMU:
        raise errors.UnsafeDiskCache(disk=disk.name, cache=disk.cache or "default")


def _warnings(copied: list[guest.Disk], shared: list[guest.Disk]) -> list[str]:
    said = []
    unlocked = [f"{disk.name} (copied)" for disk in copied]
    unlocked += [f"{disk.name} (shareable)" for disk in shared if disk.shareable]
    unlocked += [f"{disk.name} ({disk.kind.value})" for disk in shared if disk.kind is not guest.DiskKind.FILE and not disk.shareable]
    if unlocked:
        said.append(
            f"No lock that works across hosts protects {', '.join(unlocked)}: if the closing reply of the migration is lost, "
            "both hosts run the guest until an agent stops one of them."
        )
    outside = [disk.name for disk in shared if disk.kind is not guest.DiskKind.FILE]
    if outside:
        said.append(f"That both hosts see the same {', '.join(outside)} cannot be checked through libvirt.")
    flattened = [disk.name for disk in copied if disk.backing]
    if flattened:
        said.append(f"{', '.join(flattened)} will be copied together with the image below, into one image.")
    return said


def _of_pages(leaving: guest.Guest, section: libvirt_config.LibvirtSection) -> list[str]:
    if not section.live_migration_permit_post_copy or not leaving.definition:
        return []
    sizes = domain_xml.parse_platform(leaving.definition).huge_pages_kib
    if max(sizes, default=0) < _LARGEST_KIB_FETCHED_QUICKLY:
        return []
    return ["Its memory is in pages of 1 GiB or more: after a switch to post-copy each touch of a missing one waits for all of it."]


def has_block_job(domain: libvirt.virDomain, disk: guest.Disk) -> bool:
    """Whether its QEMU is busy copying or merging the disk."""
    try:
        return bool(domain.blockJobInfo(disk.name, 0))
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) in (libvirt.VIR_ERR_INVALID_ARG, *libvirt_errors.INVALID_NOW):
            return False
        raise
