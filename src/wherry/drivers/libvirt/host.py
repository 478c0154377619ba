# SPDX-License-Identifier: Apache-2.0
"""Describes a host and says where others reach it. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from wherry.drivers import base
from wherry.drivers.libvirt import capabilities
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import host

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_GIB = 1 << 30


def describe(connection: libvirt.virConnect, settings: base.HostSettings, section: libvirt_config.LibvirtSection) -> host.HostDescription:
    """Describe hypervisor and host."""
    found = capabilities.parse(connection.getCapabilities())
    version = connection.getVersion()
    _, memory_mib, cpus, *_ = connection.getInfo()
    # getInfo adds up the NUMA nodes, which on some virtual machines know of less memory than the kernel has.
    memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    disk, free = _disk_space(connection)
    return host.HostDescription(
        hypervisor_uuid=found.uuid,
        hypervisor_hostname=connection.getHostname(),
        hypervisor_type=connection.getType(),
        hypervisor_version=version,
        manager_version=connection.getLibVersion(),
        uptime_seconds=_uptime_seconds(connection, cpus),
        vcpus=cpus,
        memory_mib=memory.get("total", memory_mib * 1024) // 1024,
        disk_gib=disk // _GIB,
        free_disk_gib=free // _GIB,
        cpu=found.cpu,
        cpu_info=found.cpu_info,
        supported_types=found.supported_types,
        driver=capabilities.DRIVER,
        capabilities=capabilities.of_driver(section, version, connection.getLibVersion()),
        migration_address=inbound_address(settings, section),
    )


def inbound_address(settings: base.HostSettings, section: libvirt_config.LibvirtSection) -> str:
    """Give the configured address for migrations to this host; empty when none is."""
    return settings.inbound_address or section.live_migration_inbound_addr or ""


def connection_uri(section: libvirt_config.LibvirtSection, address: str) -> str:
    """Give the URI at which another host's libvirtd reaches the one at this address."""
    bracketed = f"[{address}]" if ":" in address else address
    if section.live_migration_uri:
        return section.live_migration_uri.replace("%s", bracketed)
    return f"qemu+{section.live_migration_scheme or 'tcp'}://{bracketed}/system"


def transfer_uri(section: libvirt_config.LibvirtSection, address: str) -> str:
    """Give the URI to which memory is sent; empty lets the destination's libvirtd choose, by its migration_host or host name."""
    if not address or section.live_migration_tunnelled:
        return ""
    return f"tcp://{f'[{address}]' if ':' in address else address}"


def _uptime_seconds(connection: libvirt.virConnect, cpus: int) -> float | None:
    """Add up what the processors did since the machine started: libvirt tells no uptime, and this is known from afar too.

    It leaves out what another hypervisor stole, which a machine that is itself a guest has: seen to be a third of a per cent short there.
    """
    try:
        spent = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.NOT_INSTALLED:
            raise
        return None
    # In nanoseconds of all processors together; what waits for disks is idle too.
    nanoseconds = sum(spent.get(name, 0) for name in ("kernel", "user", "idle", "iowait"))
    return round(nanoseconds / cpus / 1e9, 1) if nanoseconds and cpus else None


def _disk_space(connection: libvirt.virConnect) -> tuple[int, int]:
    """Give size and free space of the largest active pool: libvirt knows no other storage of the host."""
    try:
        pools = connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        sizes = [(capacity, available) for _, capacity, _, available in (pool.info() for pool in pools)]
    except libvirt.libvirtError as problem:
        # No storage driver, or a pool that was stopped meanwhile: nothing is known.
        if libvirt_errors.code(problem) not in libvirt_errors.ABSENT | libvirt_errors.NOT_INSTALLED | libvirt_errors.INVALID_NOW:
            raise
        return 0, 0
    return max(sizes, default=(0, 0))
