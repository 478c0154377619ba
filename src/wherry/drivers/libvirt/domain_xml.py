# SPDX-License-Identifier: Apache-2.0
"""Reads libvirt's domain XML into the neutral description of a guest. Pure: asks no hypervisor."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Collection

from wherry.drivers.libvirt import xml_reading
from wherry.model import guest

#: Namespace of what operators may write into a domain's <metadata>: <wherry:instance><wherry:project>ID</wherry:project></wherry:instance>.
METADATA_URI = "https://wherry.example/xmlns/1"
#: Nova writes the owner's project there; read so that guests taken over from it keep their project.
_NOVA_PROJECT = ".//{http://openstack.org/xmlns/libvirt/nova/1.1}project"
_NOVA_PROJECT_OLD = ".//{http://openstack.org/xmlns/libvirt/nova/1.0}project"
_WHERRY_PROJECT = f".//{{{METADATA_URI}}}project"

_UNIT_BYTES = {
    "b": 1,
    "bytes": 1,
    "kb": 10**3,
    "k": 1 << 10,
    "kib": 1 << 10,
    "mb": 10**6,
    "m": 1 << 20,
    "mib": 1 << 20,
    "gb": 10**9,
    "g": 1 << 30,
    "gib": 1 << 30,
    "tb": 10**12,
    "t": 1 << 40,
    "tib": 1 << 40,
}
_DISK_KINDS = {
    "file": guest.DiskKind.FILE,
    "block": guest.DiskKind.BLOCK,
    "network": guest.DiskKind.NETWORK,
    "vhostuser": guest.DiskKind.NETWORK,
}
#: Kinds of interface that are a device of the host in themselves.
_PASSTHROUGH_INTERFACES = frozenset({"hostdev", "vdpa"})


#: Models of memory devices whose content outlives the guest.
_PERSISTENT_MEMORY = frozenset({"nvdimm", "virtio-pmem"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VolumeReference:
    """A disk that names a pool and a volume instead of a path."""

    disk: str
    pool: str
    volume: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What must be known at a destination to judge machine type and CPU."""

    emulator: str | None
    architecture: str
    machine: str
    virtualization: str
    #: The <cpu> element as text, empty for QEMU's default CPU.
    cpu: str
    #: Its mode: custom, host-passthrough, host-model, maximum; empty without one.
    cpu_mode: str
    #: Sizes in KiB of the huge pages that its memory must be in.
    huge_pages_kib: tuple[int, ...]
    #: Whether each of its pages must be such a page of the one size named.
    is_all_huge: bool
    #: Files read at each start: kernel, initrd, firmware and the like.
    files: tuple[str, ...]


def parse_guest(text: str, state: guest.GuestState) -> guest.Guest:
    """Make the guest of its migratable XML; sizes, jobs and snapshots are for the caller to add."""
    root = xml_reading.parse(text)
    os_type = root.find("os/type")
    cpu = root.find("cpu")
    return guest.Guest(
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        state=state,
        memory_mib=bytes_of(root.find("memory")) >> 20,
        vcpus=_vcpus(root),
        machine_type=os_type.get("machine", "") if os_type is not None else "",
        hypervisor_type=root.get("type", ""),
        disks=tuple(_disk(element) for element in root.iterfind("devices/disk")),
        interfaces=tuple(_interface(element) for element in root.iterfind("devices/interface")),
        passthrough_devices=tuple(_passthrough(root)),
        memory_encryption=_encryption(root),
        post_copy_obstacle=_post_copy_obstacle(root),
        cpu=_text(cpu),
        definition=text,
        project_id=_project(root),
    )


def parse_platform(text: str) -> Platform:
    """Read what a destination is asked about."""
    root = xml_reading.parse(text)
    os_type, cpu = root.find("os/type"), root.find("cpu")
    names = ("os/kernel", "os/initrd", "os/dtb", "os/loader")
    files = [root.findtext(name, "") for name in names]
    nvram = root.find("os/nvram")
    if nvram is not None:
        files.append(nvram.get("template", ""))
    pages = root.findall("memoryBacking/hugepages/page")
    return Platform(
        emulator=root.findtext("devices/emulator") or None,
        architecture=os_type.get("arch", "") if os_type is not None else "",
        machine=os_type.get("machine", "") if os_type is not None else "",
        virtualization=root.get("type", ""),
        cpu=_text(cpu),
        cpu_mode=cpu.get("mode", "custom") if cpu is not None else "",
        huge_pages_kib=tuple(int(page.get("size", "0")) * _UNIT_BYTES.get(page.get("unit", "KiB").lower(), 1024) >> 10 for page in pages),
        is_all_huge=len(pages) == 1 and not pages[0].get("nodeset"),
        files=tuple(path for path in files if path.startswith("/")),
    )


def volume_references(text: str) -> list[VolumeReference]:
    """Give the disks that are named by pool and volume."""
    found = []
    for element in xml_reading.parse(text).iterfind("devices/disk[@type='volume']"):
        source, target = element.find("source"), element.find("target")
        if source is not None and target is not None:
            found.append(VolumeReference(disk=target.get("dev", ""), pool=source.get("pool", ""), volume=source.get("volume", "")))
    return found


def disk_paths(text: str) -> set[str]:
    """Give every path that a domain's disks name, images below them included."""
    root = xml_reading.parse(text)
    sources = [*root.iterfind("devices/disk//source"), *root.iterfind("devices/disk/mirror/source")]
    return {path for source in sources for path in (source.get("file"), source.get("dev")) if path}


def disk_formats(text: str) -> dict[str, str]:
    """Give every file or device that a domain's disks name, images below them included, with its format."""
    root = xml_reading.parse(text)
    found = {}
    for element in (*root.iterfind("devices/disk"), *root.iterfind("devices/disk//backingStore")):
        said = element.find("driver") if element.tag == "disk" else element.find("format")
        if path := _source_of(element.find("source")):
            # As libvirt takes it where nothing is said.
            found[path] = said.get("type", "raw") if said is not None else "raw"
    return found


def with_identity(text: str, uuid: str) -> str:
    """Give the definition of a guest that is the same in all but its uuid."""
    root = xml_reading.parse(text)
    element = root.find("uuid")
    if element is not None:
        element.text = uuid
    return ET.tostring(root, encoding="unicode")


def without_images_below(text: str, disks: Collection[str]) -> str | None:
    """Give the definition with these disks standing alone; None when it says nothing else already.

    libvirt leaves out the chains that it found by itself; one that somebody wrote down would be looked for at the destination.
    """
    root = xml_reading.parse(text)
    has_changed = False
    for element in root.iterfind("devices/disk"):
        target, below = element.find("target"), element.find("backingStore")
        if target is not None and target.get("dev") in disks and below is not None and below.find("source") is not None:
            below.clear()
            has_changed = True
    return ET.tostring(root, encoding="unicode") if has_changed else None


def bytes_of(element: ET.Element | None) -> int:
    """Read a scaled integer; libvirt's unit without one is KiB for memory."""
    if element is None or not (element.text or "").strip():
        return 0
    return int(element.text or "0") * _UNIT_BYTES.get(element.get("unit", "KiB").lower(), 1024)


def _vcpus(root: ET.Element) -> int:
    element = root.find("vcpu")
    if element is None:
        return 1
    return int(element.get("current") or element.text or "1")


def _text(element: ET.Element | None) -> str:
    return ET.tostring(element, encoding="unicode").strip() if element is not None else ""


def _disk(element: ET.Element) -> guest.Disk:
    source, target, driver = element.find("source"), element.find("target"), element.find("driver")
    kind = _DISK_KINDS.get(element.get("type", ""), guest.DiskKind.NONE)
    place = _source_of(source)
    below = element.find("backingStore/source")
    return guest.Disk(
        name=target.get("dev", "") if target is not None else "",
        kind=kind if place else guest.DiskKind.NONE,
        source=place,
        format=driver.get("type", "raw") if driver is not None else "raw",
        device=element.get("device", "disk"),
        read_only=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
        cache=driver.get("cache", "") if driver is not None else "",
        backing=_source_of(below),
    )


def _source_of(source: ET.Element | None) -> str:
    if source is None:
        return ""
    if source.get("pool"):
        return f"{source.get('pool')}/{source.get('volume', '')}"
    return source.get("file") or source.get("dev") or source.get("dir") or source.get("name") or source.get("path") or ""


def _interface(element: ET.Element) -> guest.Interface:
    source, mac = element.find("source"), element.find("mac")
    kind = element.get("type", "")
    attribute = {"bridge": "bridge", "network": "network", "direct": "dev"}.get(kind, "")
    return guest.Interface(
        kind=kind,
        name=source.get(attribute, "") if source is not None and attribute else "",
        mac=mac.get("address", "") if mac is not None else "",
    )


def _passthrough(root: ET.Element) -> list[str]:
    found = [_host_device(element) for element in root.iterfind("devices/hostdev") if not _is_failover(element)]
    for element in root.iterfind("devices/interface"):
        if element.get("type") in _PASSTHROUGH_INTERFACES and not _is_failover(element):
            mac = element.find("mac")
            found.append(f"{element.get('type')} interface {mac.get('address', '') if mac is not None else ''}".strip())
    found += [f"host NVMe {_address(element.find('source'))}".strip() for element in root.iterfind("devices/disk[@type='nvme']")]
    # The guest would see another directory there; libvirt refuses both kinds.
    found += [f"host directory {_source_of(element.find('source'))}".strip() for element in root.iterfind("devices/filesystem")]
    found += [f"TPM {_address(element)}".strip() for element in root.iterfind("devices/tpm/backend[@type='passthrough']")]
    return found


def _encryption(root: ET.Element) -> str:
    # QEMU has a migration blocker for "sev", "sev-snp" and "s390-pv", and no migration of "tdx".
    element = root.find("launchSecurity")
    return element.get("type", "launch security") if element is not None else ""


def _post_copy_obstacle(root: ET.Element) -> str:
    """Say why no page of it may be sent late. A switch that cannot work loses the guest, a pause in its place loses some seconds."""
    if root.find("memoryBacking/source[@type='file']") is not None:
        # Seen on QEMU 7.2, shared or not: at the switch the destination's QEMU ends ("userfault register: Invalid argument"), and the
        # guest with it. Files on tmpfs would do, but what holds them at the destination libvirt does not tell. memfd works.
        return "its memory is in a file of the host"
    for element in root.iterfind("devices/memory"):
        if element.get("model") in _PERSISTENT_MEMORY:
            return f"it has persistent memory ({element.get('model')})"
    for element in root.iterfind("devices/*"):
        driver = element.find("driver")
        if element.get("type") == "vhostuser" or (driver is not None and driver.get("name") == "vhostuser"):
            # Few backends wait for pages that are still to come, and libvirt does not tell which.
            return f"a process of the host ({element.tag} of type vhost-user) writes to its memory by itself"
    return ""


def _is_failover(element: ET.Element) -> bool:
    # The transient half of a failover pair: QEMU unplugs it for the migration.
    teaming = element.find("teaming")
    return teaming is not None and teaming.get("type") == "transient"


def _host_device(element: ET.Element) -> str:
    return f"{element.get('type', 'host')} {_address(element.find('source'))}".strip()


def _address(source: ET.Element | None) -> str:
    if source is None:
        return ""
    for inner in source.iter():
        if inner.get("uuid"):
            return inner.get("uuid", "")
        if inner.get("bus") is not None and inner.get("slot") is not None:
            parts = [int(inner.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function")]
            return f"{parts[0]:04x}:{parts[1]:02x}:{parts[2]:02x}.{parts[3]:x}"
        if inner.get("bus") is not None and inner.get("device") is not None:
            return f"{inner.get('bus')}:{inner.get('device')}"
        if inner.tag == "vendor":
            product = source.find("product")
            return f"{inner.get('id', '')}:{product.get('id', '') if product is not None else ''}"
        if inner.tag in ("device", "adapter"):
            return inner.get("path") or inner.get("name") or ""
    return ""


def _project(root: ET.Element) -> str:
    metadata = root.find("metadata")
    if metadata is None:
        return ""
    own = metadata.findtext(_WHERRY_PROJECT, "").strip()
    if own:
        return own
    for place in (_NOVA_PROJECT, _NOVA_PROJECT_OLD):
        element = metadata.find(place)
        if element is not None and element.get("uuid"):
            return element.get("uuid", "")
    return ""
