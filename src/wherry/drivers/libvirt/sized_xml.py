# SPDX-License-Identifier: Apache-2.0
"""Gives a domain's definition another size, or says why that one cannot be given. Pure: asks no hypervisor."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from wherry.drivers.libvirt import domain_xml, xml_reading
from wherry.model import migration

#: What ties a definition to its memory or its vCPUs: element, and what it is called.
_TIES = (
    ("cpu/numa", "NUMA cells"),
    ("numatune", "a placement of its memory"),
    ("maxMemory", "slots for more memory"),
    ("devices/memory", "memory devices"),
    ("cputune/vcpupin", "vCPUs pinned to the host's"),
    ("cputune/vcpusched", "vCPUs scheduled one by one"),
    ("vcpus", "vCPUs listed one by one"),
)


def obstacle(text: str, size: migration.Size | None) -> str:
    """Say what in the definition is made for its present size; empty where nothing is, or nothing changes."""
    root = xml_reading.parse(text)
    if size is None or _size_of(root) == (size.memory_mib, size.vcpus):
        return ""
    return ", ".join(what for path, what in _TIES if root.find(path) is not None)


def with_size(text: str, size: migration.Size | None) -> str:
    """Give the definition with this memory and these vCPUs; as it is where it has them already."""
    root = xml_reading.parse(text)
    if size is None or _size_of(root) == (size.memory_mib, size.vcpus):
        return text
    for name in ("memory", "currentMemory"):
        element = root.find(name)
        if element is None:
            continue
        element.set("unit", "MiB")
        element.text = str(size.memory_mib)
    vcpu = root.find("vcpu")
    if vcpu is not None:
        vcpu.attrib.pop("current", None)
        vcpu.text = str(size.vcpus)
    topology = root.find("cpu/topology")
    if topology is not None:
        # libvirt refuses one whose product is another number than the vCPUs'.
        for name in topology.attrib:
            topology.set(name, str(size.vcpus) if name == "sockets" else "1")
    return ET.tostring(root, encoding="unicode")


def local_state(text: str) -> str:
    """Say what of the guest lies in files of its host that no disk names; empty for nothing."""
    root = xml_reading.parse(text)
    found = []
    if (root.findtext("os/nvram") or "").startswith("/"):
        found.append("the variables of its firmware")
    if root.find("devices/tpm/backend[@type='emulator']") is not None:
        found.append("the state of its TPM")
    return " and ".join(found)


def _size_of(root: ET.Element) -> tuple[int, int]:
    return domain_xml.bytes_of(root.find("memory")) >> 20, int(root.findtext("vcpu") or "1")
