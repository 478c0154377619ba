# SPDX-License-Identifier: Apache-2.0
"""Describes the guests of a host: a few calls for all, and two for each.

Changes nothing, and waits no more than a moment for a guest whose QEMU does not answer: sizes that cannot be had without it stay 0.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator
from typing import Any

import libvirt

from wherry.drivers.libvirt import domain_xml, job, observe
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest

_MIGRATABLE = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
_STATISTICS = libvirt.VIR_DOMAIN_STATS_BLOCK | libvirt.VIR_DOMAIN_STATS_STATE
_STATISTICS_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
#: How often, and after how long, a guest is asked again at which another call was. Seen on libvirt 9.0: sizes are left out then, as we do
#: not have it wait for that call.
_TRIES, _PAUSE_SECONDS = 10, 0.02
#: Never set: waited on for the pause.
_never = threading.Event()
_VOLUME_KINDS = {libvirt.VIR_STORAGE_VOL_FILE: guest.DiskKind.FILE, libvirt.VIR_STORAGE_VOL_BLOCK: guest.DiskKind.BLOCK}


def list_uuids(connection: libvirt.virConnect) -> list[str]:
    """Give the uuids of all domains, active or not."""
    return [domain.UUIDString() for domain in connection.listAllDomains()]


#: Per disk of a guest, what its QEMU says of the image.
DiskSizes = dict[str, dict[str, Any]]


class SizeCache:
    """Sizes of disks by guest: asking a QEMU takes 2 ms, all else about a guest 1 ms."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._known: dict[str, tuple[float, DiskSizes]] = {}

    def get(self, uuid: str, now: float) -> DiskSizes | None:
        """Give what is known and not too old."""
        entry = self._known.get(uuid)
        return entry[1] if entry is not None and now - entry[0] < self._max_age_seconds else None

    def put(self, uuid: str, sizes: DiskSizes, now: float) -> None:
        """Remember."""
        self._known[uuid] = (now, sizes)

    def keep_only(self, uuids: Collection[str]) -> None:
        """Forget guests that are no longer here."""
        for uuid in self._known.keys() - set(uuids):
            self._known.pop(uuid, None)


def describe(
    connection: libvirt.virConnect, uuids: Collection[str], cache: SizeCache, now: float, *, may_be_cached: bool = False
) -> list[guest.Guest]:
    """Describe these guests; one that is not here, or goes while it is looked at, is left out."""
    domains = [domain for domain in (observe.find(connection, uuid) for uuid in uuids) if domain is not None]
    sizes = {domain.UUIDString(): cache.get(domain.UUIDString(), now) if may_be_cached else None for domain in domains}
    asked, busy = _sizes(connection, [domain for domain in domains if sizes[domain.UUIDString()] is None])
    for _ in range(0 if may_be_cached else _TRIES - 1):
        if not busy:
            break
        _never.wait(_PAUSE_SECONDS)
        again, busy = _sizes(connection, busy)
        asked |= again
    incomplete = {domain.UUIDString() for domain in busy}
    for uuid, answer in asked.items():
        sizes[uuid] = answer
        if uuid not in incomplete:
            cache.put(uuid, answer, now)
    found = []
    for domain in domains:
        try:
            found.append(_describe(connection, domain, sizes.get(domain.UUIDString()) or {}))
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return found


def definition_of(domain: libvirt.virDomain) -> str:
    """Give the XML that may be started elsewhere."""
    try:
        return str(domain.XMLDesc(_MIGRATABLE))
    except libvirt.libvirtError as problem:
        # libvirt refuses it for what can never be migrated; such a guest is a server all the same.
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))


def _describe(connection: libvirt.virConnect, domain: libvirt.virDomain, sizes: DiskSizes) -> guest.Guest:
    state, current, _ = observe.read(domain)
    text = definition_of(domain)
    described = domain_xml.parse_guest(text, state)
    disks = tuple(_with_size(disk, sizes.get(disk.name, {})) for disk in described.disks)
    if any("/" in disk.source and not disk.source.startswith("/") for disk in disks):
        disks = tuple(_resolve_volumes(connection, text, disks))
    return dataclasses.replace(
        described,
        disks=disks,
        snapshot_count=domain.snapshotNum(),
        active_job=current.name,
        is_persistent=bool(domain.isPersistent()),
        is_incoming=current.name == job.MIGRATION_IN,
    )


def _sizes(connection: libvirt.virConnect, domains: list[libvirt.virDomain]) -> tuple[dict[str, DiskSizes], list[libvirt.virDomain]]:
    """Give per guest and disk what the running QEMUs say of their images, in one call for all, and those at which another call was."""
    sizes: dict[str, DiskSizes] = {}
    busy: list[libvirt.virDomain] = []
    if not domains:
        return sizes, busy
    for domain, statistics in connection.domainListGetStats(domains, _STATISTICS, _STATISTICS_FLAGS):
        disks = sizes[domain.UUIDString()] = {}
        for number in range(statistics.get("block.count", 0)):
            prefix = f"block.{number}."
            entry = {key.removeprefix(prefix): value for key, value in statistics.items() if key.startswith(prefix)}
            name = str(entry.get("name", ""))
            if name in disks:
                # Entries of the images below follow that of the top one.
                disks[name].setdefault("below", entry.get("path", ""))
            else:
                disks[name] = entry
        is_active = statistics.get("state.state") != libvirt.VIR_DOMAIN_SHUTOFF
        if is_active and any(entry.get("path") and "capacity" not in entry for entry in disks.values()):
            busy.append(domain)
    return sizes, busy


def _with_size(disk: guest.Disk, entry: dict[str, Any]) -> guest.Disk:
    # Another path: the size is of a medium that was changed since.
    if not entry or entry.get("path", disk.source) != disk.source:
        return disk
    return dataclasses.replace(
        disk,
        capacity_bytes=int(entry.get("capacity", 0)),
        # The file's length. "allocation" is no better: the highest offset written since QEMU started, 0 for one that only reads.
        allocation_bytes=int(entry.get("physical", 0)),
        backing=disk.backing or str(entry.get("below", "")),
    )


def _resolve_volumes(connection: libvirt.virConnect, text: str, disks: tuple[guest.Disk, ...]) -> Iterator[guest.Disk]:
    references = {reference.disk: reference for reference in domain_xml.volume_references(text)}
    for disk in disks:
        reference = references.get(disk.name)
        if reference is None:
            yield disk
            continue
        try:
            volume = connection.storagePoolLookupByName(reference.pool).storageVolLookupByName(reference.volume)
            kind = _VOLUME_KINDS.get(volume.info()[0], guest.DiskKind.NETWORK)
            yield dataclasses.replace(disk, kind=kind, source=volume.path())
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) not in libvirt_errors.ABSENT:
                raise
            yield dataclasses.replace(disk, kind=guest.DiskKind.NETWORK)
