# SPDX-License-Identifier: Apache-2.0
"""What this host's libvirt and QEMU can do, read from versions, options and the capabilities XML. Pure."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from wherry.drivers.libvirt import xml_reading
from wherry.model import capabilities

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

DRIVER = "libvirt"
#: First QEMU whose file driver drops its cache when a guest arrives, so that any cache mode but "unsafe" is coherent.
CACHE_DROPPING_QEMU = 4_000_000
#: First QEMU with post-copy.
_POST_COPY_QEMU = 2_005_000
#: First libvirt that tells a broken post-copy from a failed migration, and can resume it.
_POST_COPY_RECOVERY_LIBVIRT = 8_005_000
#: First QEMU that sends memory over parallel connections and can still switch to post-copy.
PARALLEL_POST_COPY_QEMU = 10_001_000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostCapabilities:
    """What the capabilities XML says of the host."""

    uuid: str
    architecture: str
    #: The <cpu> element as text.
    cpu: str
    #: JSON for Nova's cpu_info.
    cpu_info: str
    #: Kinds of domain that can run here, best first.
    supported_types: tuple[str, ...]


def parse(text: str) -> HostCapabilities:
    """Read the capabilities XML."""
    root = xml_reading.parse(text)
    cpu = root.find("host/cpu")
    architecture = root.findtext("host/cpu/arch", "")
    kinds = {
        element.get("type", "")
        for arch in root.iterfind("guest/arch")
        if arch.get("name") == architecture
        for element in arch.iterfind("domain")
    }
    return HostCapabilities(
        uuid=root.findtext("host/uuid", ""),
        architecture=architecture,
        cpu=ET.tostring(cpu, encoding="unicode").strip() if cpu is not None else "",
        cpu_info=_cpu_info(cpu),
        supported_types=tuple(sorted(kinds, key=lambda kind: (kind != "kvm", kind))),
    )


def of_driver(section: libvirt_config.LibvirtSection, hypervisor_version: int, manager_version: int) -> capabilities.DriverCapabilities:
    """Say what the driver can do with this QEMU, this libvirt and these options."""
    # Whether QEMU may use userfaultfd (vm.unprivileged_userfaultfd, or running as root) is not known: libvirt's capabilities do not name
    # it, and QEMU 7.2 takes the capability postcopy-ram anywhere but in a process that waits for a guest, where it refuses with
    # "Postcopy is not supported". So such a destination fails the migration when it is made ready, before anything is sent.
    can_post_copy = hypervisor_version >= _POST_COPY_QEMU and not section.live_migration_tunnelled
    if section.live_migration_parallel_connections > 1:
        can_post_copy = can_post_copy and hypervisor_version >= PARALLEL_POST_COPY_QEMU
    return capabilities.DriverCapabilities(
        live_migration=True,
        abort=True,
        force_complete_by_post_copy=can_post_copy,
        post_copy_recovery=can_post_copy and manager_version >= _POST_COPY_RECOVERY_LIBVIRT,
        force_complete_by_pause=True,
        adoption=True,
        storage_copy=not section.live_migration_tunnelled,
        bandwidth_change=True,
        downtime_change=True,
        paused_guests=True,
        per_migration_deadline=True,
        progress=True,
        pause=True,
        power=True,
        suspend=True,
        cold_migration=True,
        build=True,
    )


def _cpu_info(cpu: ET.Element | None) -> str:
    if cpu is None:
        return "{}"
    topology = cpu.find("topology")
    numbers = {name: int(topology.get(name, "1")) for name in ("sockets", "cores", "threads")} if topology is not None else {}
    return json.dumps(
        {
            "arch": cpu.findtext("arch", ""),
            "model": cpu.findtext("model", ""),
            "vendor": cpu.findtext("vendor", ""),
            "topology": numbers,
            "features": [feature.get("name", "") for feature in cpu.iterfind("feature")],
        }
    )
