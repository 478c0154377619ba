# SPDX-License-Identifier: Apache-2.0
"""Whether a guest could run here, asked of this host's libvirt. Changes nothing but by its probes.

What libvirt cannot be asked becomes a sentence of warning: whether QEMU's user may open a file (libvirtd looks as itself), whether
a block device or a network disk is the same one that the source sees, and what an `ethernet` or `user` interface leads to.
"""

from __future__ import annotations

import dataclasses
import posixpath

import libvirt

from wherry import errors
from wherry.drivers.libvirt import domain_xml, storage
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest, migration

_LOOKUPS = {"bridge": "bridge", "network": "network", "direct": "device"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of a destination."""

    #: Name of this host.
    host: str
    wanted: guest.Guest
    #: The source host's CPU, for guests that have it as it is.
    source_cpu: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What was found besides that nothing stands against it."""

    #: Directories of the disks that the guest writes: each is to be probed.
    directories: tuple[str, ...]
    present_files: tuple[str, ...]
    warnings: tuple[str, ...]


def check(connection: libvirt.virConnect, question: Question, files: storage.Storage) -> Answer:
    """Ask everything; the probes come afterwards, so that a refusal leaves none.

    :raises CheckFailed: with the first reason found.
    """
    wanted, platform = question.wanted, domain_xml.parse_platform(question.wanted.definition)
    warnings: list[str] = []
    _check_absent(connection, question)
    _check_machine(connection, question.host, platform)
    _check_cpu(connection, question, platform)
    _check_huge_pages(connection, question, platform)
    for interface in wanted.interfaces:
        warnings += _check_interface(connection, question.host, interface)
    names = _Names(connection, files)
    _check_media(names, question.host, wanted, platform)
    disks = writable_files(wanted)
    present = tuple(sorted(disk.source for disk in disks if names.has(disk.source)))
    _check_backing(names, question.host, disks, present)
    directories = tuple(sorted({posixpath.dirname(disk.source) for disk in disks}))
    return Answer(directories=directories, present_files=present, warnings=tuple(warnings))


def writable_files(wanted: guest.Guest) -> list[guest.Disk]:
    """Give the disks that are files and that the guest writes: those to be classified."""
    return [disk for disk in wanted.disks if disk.kind is guest.DiskKind.FILE and disk.device == "disk" and not disk.read_only]


class _Names:
    """Names of files by directory, each directory read once."""

    def __init__(self, connection: libvirt.virConnect, files: storage.Storage) -> None:
        self._connection = connection
        self._files = files
        self._seen: dict[str, frozenset[str]] = {}

    def has(self, path: str) -> bool:
        """Whether the daemon sees this file."""
        directory, name = posixpath.split(path)
        if directory not in self._seen:
            self._seen[directory] = self._files.names(self._connection, directory)
        return name in self._seen[directory]


def _check_absent(connection: libvirt.virConnect, question: Question) -> None:
    for attribute, value, lookup in (
        ("uuid", question.wanted.uuid, connection.lookupByUUIDString),
        ("name", question.wanted.name, connection.lookupByName),
    ):
        try:
            lookup(value)
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        else:
            # Also when it is shut off: a definition that is there would be taken over or stand in the way.
            raise errors.DomainPresent(host=question.host, attribute=attribute, value=value)


def _check_machine(connection: libvirt.virConnect, host: str, platform: domain_xml.Platform) -> None:
    try:
        connection.getDomainCapabilities(platform.emulator, platform.architecture, platform.machine, platform.virtualization)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_SYSTEM_ERROR and platform.emulator:
            raise errors.MediaUnreadable(host=host, path=platform.emulator) from problem
        if libvirt_errors.code(problem) in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
            raise errors.MachineTypeUnsupported(host=host, machine_type=platform.machine) from problem
        raise


def _check_cpu(connection: libvirt.virConnect, question: Question, platform: domain_xml.Platform) -> None:
    # Without KVM the CPU is emulated, whatever the host has.
    if platform.virtualization != "kvm" or not platform.cpu:
        return
    flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        if platform.cpu_mode in ("host-passthrough", "maximum"):
            # Such a guest has all of the source's CPU.
            if question.source_cpu:
                connection.compareCPU(question.source_cpu, flags)
            return
        connection.compareHypervisorCPU(
            platform.emulator, platform.architecture, platform.machine, platform.virtualization, platform.cpu, flags
        )
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) in (libvirt.VIR_ERR_CPU_INCOMPATIBLE, libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
            raise errors.CpuIncompatible(host=question.host, detail=libvirt_errors.text(problem)) from problem
        raise


def _check_huge_pages(connection: libvirt.virConnect, question: Question, platform: domain_xml.Platform) -> None:
    """Look for pages of the sizes that the guest names; without a size libvirt takes the host's own, which it does not tell.

    Seen on libvirt 9.0: a size that the kernel does not have is an operation that failed ("page size 64 is not available").
    """
    for size in platform.huge_pages_kib:
        needed_kib = question.wanted.memory_mib * 1024 if platform.is_all_huge else size
        try:
            counts = connection.getFreePages([size], -1, 1)
            free_kib = sum(count for cell in counts.values() for count in cell.values()) * size
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) in libvirt_errors.NOT_INSTALLED:
                return
            if libvirt_errors.code(problem) != libvirt.VIR_ERR_OPERATION_FAILED:
                raise
            free_kib = 0
        if free_kib < needed_kib:
            raise errors.HugePagesMissing(
                host=question.host, page_kib=size, available_mib=free_kib // 1024, needed_mib=-(-needed_kib // 1024)
            )


def _check_interface(connection: libvirt.virConnect, host: str, interface: guest.Interface) -> list[str]:
    kind = _LOOKUPS.get(interface.kind)
    if kind is None or not interface.name:
        return []
    try:
        if kind == "network":
            is_there = bool(connection.networkLookupByName(interface.name).isActive())
        else:
            is_there = bool(connection.interfaceLookupByName(interface.name))
    except libvirt.libvirtError as problem:
        code = libvirt_errors.code(problem)
        if code in libvirt_errors.NOT_INSTALLED:
            return [f"Whether {host} has the {kind} {interface.name} could not be checked: its libvirt has no driver for that."]
        if code not in libvirt_errors.ABSENT:
            raise
        is_there = False
    if not is_there:
        raise errors.NetworkMissing(host=host, kind=kind, name=interface.name)
    return []


def _check_media(names: _Names, host: str, wanted: guest.Guest, platform: domain_xml.Platform) -> None:
    media = [
        disk.source
        for disk in wanted.disks
        if disk.kind is guest.DiskKind.FILE and disk.source and (disk.device != "disk" or disk.read_only)
    ]
    for path in (*media, *platform.files):
        if not names.has(path):
            raise errors.MediaUnreadable(host=host, path=path)


def _check_backing(names: _Names, host: str, disks: list[guest.Disk], present: tuple[str, ...]) -> None:
    for disk in disks:
        # A disk that is not there is copied, with what is below it, into one image.
        if disk.source in present and disk.backing.startswith("/") and not names.has(disk.backing):
            raise errors.MediaUnreadable(host=host, path=disk.backing)


def probe(
    connection: libvirt.virConnect, files: storage.Storage, wanted: tuple[migration.StorageProbe, ...]
) -> tuple[tuple[migration.StorageProbe, ...], dict[str, int]]:
    """Make the probes; give those that could be made, and the free bytes of each directory. On failure none is left."""
    made: list[migration.StorageProbe] = []
    free: dict[str, int] = {}
    try:
        for each in wanted:
            try:
                free[each.directory] = files.probe(connection, each.directory, each.name)
            except storage.DirectoryMissing:
                # Not shared, then. The copy's preparation makes it, on what holds the directory above it.
                free[each.directory] = _free_above(connection, files, each.directory)
            else:
                made.append(each)
    except BaseException:
        release(connection, files, tuple(made))
        raise
    return tuple(made), free


def _free_above(connection: libvirt.virConnect, files: storage.Storage, directory: str) -> int:
    while directory != "/":
        directory = posixpath.dirname(directory)
        try:
            with files.pool(connection, directory) as pool:
                return int(pool.info()[3])
        except storage.DirectoryMissing:
            continue
    return 0


def release(connection: libvirt.virConnect, files: storage.Storage, probes: tuple[migration.StorageProbe, ...]) -> None:
    """Remove the probes; one that is gone is fine, and what is not named like a probe is never touched."""
    for probe in probes:
        if storage.is_probe(probe.name):
            files.delete(connection, posixpath.join(probe.directory, probe.name))
