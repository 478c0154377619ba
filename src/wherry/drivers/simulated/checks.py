# SPDX-License-Identifier: Apache-2.0
"""What a simulated hypervisor checks before a guest is sent: at the destination, then at the source. Changes nothing."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from wherry import errors
from wherry.drivers.simulated import copying, fleet
from wherry.model import guest, host, migration

#: Cache modes with which nothing of a disk is left in the source's memory.
_SAFE_CACHES = frozenset({"none", "directsync"})


def writable_files(disks: Iterable[guest.Disk]) -> list[guest.Disk]:
    """Give the disks whose storage is looked at: files that are no mere media."""
    return [disk for disk in disks if disk.kind is guest.DiskKind.FILE and disk.source and disk.device == "disk" and not disk.read_only]


def probe_directories(disks: Iterable[guest.Disk]) -> list[str]:
    """Give their directories, each once."""
    return list(dict.fromkeys(posixpath.dirname(disk.source) for disk in writable_files(disks)))


# ------------------------------------------------------------------ destination


def check_destination(here: fleet.Host, wanted: guest.Guest, source: host.HostDescription) -> None:
    """Say no when the guest could not run here.

    :raises CheckFailed: naming what is missing.
    """
    _check_hypervisor(here, wanted, source)
    _check_identity(here, wanted)
    if not here.knows_machine_type(wanted.machine_type):
        raise errors.MachineTypeUnsupported(host=here.name, machine_type=wanted.machine_type)
    level = fleet.cpu_level(wanted.cpu)
    if level is not None and level > here.cpu_level:
        raise errors.CpuIncompatible(host=here.name, detail=f"it needs {wanted.cpu}, the host has {fleet.cpu_text(here.cpu_level)}")
    _check_networks(here, wanted)
    _check_paths(here, wanted)


def _check_hypervisor(here: fleet.Host, wanted: guest.Guest, source: host.HostDescription) -> None:
    if source.hypervisor_type != here.profile.hypervisor_type:
        raise errors.HypervisorTypeMismatch(
            source_type=source.hypervisor_type, host=here.name, destination_type=here.profile.hypervisor_type
        )
    if wanted.hypervisor_type and wanted.hypervisor_type not in here.profile.supported_types:
        raise errors.HypervisorTypeMismatch(
            source_type=wanted.hypervisor_type, host=here.name, destination_type=", ".join(here.profile.supported_types)
        )
    if here.hypervisor_version < source.hypervisor_version:
        raise errors.HypervisorTooOld(host=here.name, destination_version=here.hypervisor_version, source_version=source.hypervisor_version)


def _check_identity(here: fleet.Host, wanted: guest.Guest) -> None:
    if wanted.uuid in here.guests:
        raise errors.DomainPresent(host=here.name, attribute="uuid", value=wanted.uuid)
    if any(local.spec.name == wanted.name for local in here.guests.values()):
        raise errors.DomainPresent(host=here.name, attribute="name", value=wanted.name)


def _check_networks(here: fleet.Host, wanted: guest.Guest) -> None:
    present = {"bridge": here.bridges, "network": here.networks}
    for interface in wanted.interfaces:
        if interface.name and interface.name not in present.get(interface.kind, frozenset({interface.name})):
            raise errors.NetworkMissing(host=here.name, kind=interface.kind, name=interface.name)


def _check_paths(here: fleet.Host, wanted: guest.Guest) -> None:
    for disk in wanted.disks:
        if disk.kind is not guest.DiskKind.FILE or not disk.source:
            continue
        is_media = disk.read_only or disk.device != "disk"
        if here.store_of(disk.source) is None or (is_media and not here.has_file(disk.source)):
            raise errors.MediaUnreadable(host=here.name, path=disk.source)


# ----------------------------------------------------------------------- source


def check_source(
    here: fleet.Host,
    running: copying.Copying,
    leaving: guest.Guest,
    request: migration.LiveMigrationRequest,
    facts: migration.DestinationFacts,
    *,
    has_arrived_paused: bool = False,
) -> migration.StoragePlan:
    """Classify the disks by the probes, or say no when the guest may not leave.

    :param has_arrived_paused: whether the agent knows so of its last arrival.

    :raises CheckFailed: naming what is in the way.
    :raises GuestNotFound: when it is not here.
    :raises GuestNotRunning: when it is neither running nor paused.
    """
    local = here.guests.get(leaving.uuid)
    if local is None:
        raise errors.GuestNotFound(host=here.name, uuid=leaving.uuid)
    if local.state not in (guest.GuestState.RUNNING, guest.GuestState.PAUSED):
        raise errors.GuestNotRunning(uuid=leaving.uuid, state=local.state.value)
    check_guest(here, running, local)
    if local.state is guest.GuestState.PAUSED and here.would_lose(local) and (has_arrived_paused or local.shows_arrival):
        raise errors.PausedSinceArrival(host=here.name)
    plan = classify(here, local.spec, facts)
    _check_storage(here, local.spec, plan, request, facts)
    _check_capabilities(here, local, plan)
    return plan


def check_guest(here: fleet.Host, running: copying.Copying, local: fleet.Guest) -> None:
    """Say no where something about the guest itself keeps it here.

    :raises CheckFailed: naming what.
    """
    spec = local.spec
    if running.job_at(here, spec.uuid) is not None:
        raise errors.JobActive(job="migration", host=here.name)
    if spec.active_job:
        raise errors.JobActive(job=spec.active_job, host=here.name)
    if spec.passthrough_devices:
        raise errors.PassthroughDevice(device=spec.passthrough_devices[0])
    if spec.memory_encryption:
        raise errors.MemoryEncrypted(kind=spec.memory_encryption)
    if spec.snapshot_count:
        raise errors.SnapshotsPresent(count=spec.snapshot_count)


def classify(here: fleet.Host, spec: fleet.GuestSpec, facts: migration.DestinationFacts) -> migration.StoragePlan:
    """Say of each disk what happens to it: a directory in which the destination's probe is seen is shared."""
    shared = {probe.directory for probe in facts.probes if here.has_file(posixpath.join(probe.directory, probe.name))}
    looked_at = {disk.name for disk in writable_files(spec.disks)}
    plans, warnings = [], []
    for disk in spec.disks:
        if disk.name not in looked_at:
            is_shared = disk.kind in (guest.DiskKind.BLOCK, guest.DiskKind.NETWORK)
            treatment = migration.Treatment.SHARED if is_shared else migration.Treatment.NONE
        elif posixpath.dirname(disk.source) in shared:
            treatment = migration.Treatment.SHARED
        else:
            treatment = migration.Treatment.COPIED
        store = here.store_of(disk.source)
        is_unlocked = disk.shareable or (store is not None and not store.has_locks)
        if treatment is migration.Treatment.SHARED and is_unlocked:
            warnings.append(
                f"Disk {disk.name} has no lock that holds across hosts: if the end of the migration gets lost, both sides can write it."
            )
        plans.append(migration.DiskPlan(disk=disk, treatment=treatment))
    return migration.StoragePlan(disks=tuple(plans), warnings=tuple(warnings))


def _check_storage(
    here: fleet.Host,
    spec: fleet.GuestSpec,
    plan: migration.StoragePlan,
    request: migration.LiveMigrationRequest,
    facts: migration.DestinationFacts,
) -> None:
    has_shared = any(disk.treatment is migration.Treatment.SHARED for disk in plan.disks)
    if request.block_migration is True and has_shared and not plan.copied:
        raise errors.StorageShared(host=facts.host)
    if request.block_migration is False and plan.copied:
        raise errors.StorageNotShared(host=facts.host)
    for planned in plan.disks:
        store = here.store_of(planned.disk.source)
        is_incoherent = store is not None and not store.is_coherent and planned.treatment is migration.Treatment.SHARED
        if is_incoherent and planned.disk.cache not in _SAFE_CACHES:
            raise errors.UnsafeDiskCache(disk=planned.disk.name, cache=planned.disk.cache or "default")
    if request.disk_over_commit is None:
        return
    needed: dict[str, int] = {}
    for disk in plan.copied:
        size = disk.allocation_bytes if request.disk_over_commit else disk.capacity_bytes
        directory = posixpath.dirname(disk.source)
        needed[directory] = needed.get(directory, 0) + size
    for directory, size in needed.items():
        available = facts.free_bytes.get(directory, 0)
        if size > available:
            raise errors.InsufficientSpace(host=facts.host, path=directory, available_bytes=available, needed_bytes=size)


def _check_capabilities(here: fleet.Host, local: fleet.Guest, plan: migration.StoragePlan) -> None:
    flags = here.profile.capabilities
    missing = ""
    instead = ""
    if not flags.live_migration:
        missing, instead = "send a running guest", "Move the guest while it is shut off."
    elif plan.is_block_migration and not flags.storage_copy:
        missing, instead = "copy disks along", "Put the disks on storage that both hosts share."
    elif local.state is guest.GuestState.PAUSED and not flags.paused_guests:
        missing, instead = "send a paused guest", "Resume the guest first."
    if missing:
        raise errors.CapabilityMissing(driver=here.profile.name, host=here.name, ability=missing, instead=instead)
