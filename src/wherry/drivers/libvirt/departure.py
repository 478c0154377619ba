# SPDX-License-Identifier: Apache-2.0
"""Whether a guest may be shut down and leave this host, or become another size here, and which of its disks are sent. Changes nothing."""

from __future__ import annotations

import dataclasses
import posixpath

import libvirt

from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import check_source, observe, sized_xml, storage
from wherry.model import guest, migration

_MOVABLE = frozenset({guest.GuestState.RUNNING, guest.GuestState.SHUT_OFF})


def check(connection: libvirt.virConnect, files: storage.Storage, host: str, plan: migration.Plan) -> base.Departure:
    """Look at the guest and classify its disks.

    :raises CheckFailed: with the first reason found.
    """
    leaving = _leaving(plan)
    domain = observe.find(connection, leaving.uuid)
    if domain is None:
        raise errors.GuestNotFound(host=host, uuid=leaving.uuid)
    _check_guest(domain, host, leaving)
    _check_definition(domain, plan, leaving)
    has_autostart = bool(domain.autostart())
    if plan.is_same_host or plan.facts is None:
        treated = tuple(migration.DiskPlan(disk=disk, treatment=_kept(disk)) for disk in leaving.disks)
        return base.Departure(storage=migration.StoragePlan(disks=treated), has_autostart=has_autostart)
    return base.Departure(storage=_classify(connection, files, plan.facts, leaving), has_autostart=has_autostart)


def _leaving(plan: migration.Plan) -> guest.Guest:
    if plan.guest is None:
        raise errors.Internal(detail="a departure was to be checked before its guest was described")
    return plan.guest


def _check_guest(domain: libvirt.virDomain, host: str, leaving: guest.Guest) -> None:
    state, current, _ = observe.read(domain)
    if current.name:
        raise errors.JobActive(job=current.name, host=host)
    if state not in _MOVABLE:
        raise _cannot(leaving, f"it is {state.value}", "Let it run, or stop it, first.")
    if not domain.isPersistent():
        raise _cannot(leaving, "nothing of it would be left once it is off", "Define it at the hypervisor first, with virsh define.")
    if leaving.passthrough_devices:
        raise errors.PassthroughDevice(device=leaving.passthrough_devices[0])
    count = domain.snapshotNum()
    if count:
        raise errors.SnapshotsPresent(count=count)
    if domain.listAllCheckpoints():
        raise _cannot(leaving, "it has checkpoints, which only its own host knows", "Delete them first, with virsh checkpoint-delete.")
    if domain.hasManagedSaveImage():
        raise _cannot(leaving, "its memory is saved on its host", "Start it, or drop what is saved with virsh managedsave-remove.")
    if state is guest.GuestState.RUNNING:
        busy = next(
            (disk for disk in leaving.disks if disk.source and disk.device == "disk" and check_source.has_block_job(domain, disk)), None
        )
        if busy is not None:
            raise errors.JobActive(job=f"block job of {busy.name}", host=host)


def _check_definition(domain: libvirt.virDomain, plan: migration.Plan, leaving: guest.Guest) -> None:
    text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE)
    tied = sized_xml.obstacle(text, plan.new_size)
    if tied:
        raise _cannot(leaving, f"its definition has {tied}", "Take that out of its definition, or keep memory and vCPUs.")
    here_only = sized_xml.local_state(text)
    if here_only and not plan.is_same_host:
        raise _cannot(leaving, f"{here_only} would stay behind", "Migrate it live, with its disks on shared storage.")


def _classify(
    connection: libvirt.virConnect, files: storage.Storage, facts: migration.DestinationFacts, leaving: guest.Guest
) -> migration.StoragePlan:
    shared = {probe.directory for probe in facts.probes if probe.name in files.names(connection, probe.directory)}
    treated: list[migration.DiskPlan] = []
    needed: dict[str, int] = {}
    for disk in leaving.disks:
        treatment = check_source.treatment_of(disk, shared)
        if treatment is not migration.Treatment.COPIED:
            treated.append(migration.DiskPlan(disk=disk, treatment=treatment))
            continue
        sized = _sized(connection, files, disk, facts)
        directory = posixpath.dirname(sized.source)
        needed[directory] = needed.get(directory, 0) + sized.allocation_bytes
        treated.append(migration.DiskPlan(disk=sized, treatment=treatment))
    for directory, size in needed.items():
        available = facts.free_bytes.get(directory, 0)
        if size > available:
            raise errors.InsufficientSpace(host=facts.host, path=directory, available_bytes=available, needed_bytes=size)
    return migration.StoragePlan(disks=tuple(treated))


def _sized(connection: libvirt.virConnect, files: storage.Storage, disk: guest.Disk, facts: migration.DestinationFacts) -> guest.Disk:
    """Give a disk that is sent with its sizes, which nobody tells of a guest that is off."""
    if disk.shareable:
        # Other guests write it too: a copy would be another disk than theirs.
        raise errors.StorageNotShared(host=facts.host)
    if disk.format not in storage.FORMATS:
        instead = f"Convert {disk.name} to qcow2 or raw, or use shared storage."
        raise errors.CannotMove(uuid="", why=f"its disk {disk.name} has the format {disk.format}", instead=instead)
    if disk.source in facts.present_files:
        raise errors.DestinationDiskExists(host=facts.host, path=disk.source)
    image = files.image(connection, disk.source, disk.format)
    if image is None:
        raise errors.MediaUnreadable(host="its own host", path=disk.source)
    if image.format != disk.format:
        why = f"its disk {disk.name} looks like {image.format}, and its definition says {disk.format}"
        raise errors.CannotMove(uuid="", why=why, instead="Name the format that it has in the definition, with virsh edit.")
    taken = image.allocation_bytes + sum(files.allocation(connection, below) for below in files.chain(connection, image))
    size = min(taken, image.capacity_bytes) if image.backing else image.allocation_bytes
    return dataclasses.replace(disk, capacity_bytes=image.capacity_bytes, allocation_bytes=size, backing=image.backing)


def _kept(disk: guest.Disk) -> migration.Treatment:
    return migration.Treatment.SHARED if disk.source and disk.device == "disk" and not disk.read_only else migration.Treatment.NONE


def _cannot(leaving: guest.Guest, why: str, instead: str) -> errors.CannotMove:
    return errors.CannotMove(uuid=leaving.uuid, why=why, instead=instead)
