# SPDX-License-Identifier: Apache-2.0
"""Domain XML becomes the neutral guest, whatever its shape."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from wherry.drivers.libvirt import domain_xml
from wherry.model import guest

pytestmark = [pytest.mark.unit]

DOMAIN = """\
<domain type='kvm'>
  <name>web</name>
  <uuid>5b1c7b7c-6f0a-4a1e-9d0b-1f1c0f9f0a01</uuid>
  <metadata>{metadata}</metadata>
  <memory unit='KiB'>2097152</memory>
  <vcpu placement='static' current='3'>8</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/CODE.fd</loader>
    <nvram template='/usr/share/OVMF/VARS.fd'>/var/lib/libvirt/qemu/nvram/web.fd</nvram>
    <kernel>/boot/vmlinuz</kernel>
  </os>
  <cpu mode='custom' match='exact'><model>kvm64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {devices}
  </devices>
</domain>
"""


def _guest(devices: str = "", metadata: str = "") -> guest.Guest:
    return domain_xml.parse_guest(DOMAIN.format(devices=devices, metadata=metadata), guest.GuestState.RUNNING)


def test_a_guest_is_read_with_its_size_machine_and_cpu() -> None:
    found = _guest()
    assert (found.name, found.uuid) == ("web", "5b1c7b7c-6f0a-4a1e-9d0b-1f1c0f9f0a01")
    assert (found.memory_mib, found.vcpus) == (2048, 3)
    assert (found.machine_type, found.hypervisor_type) == ("pc-q35-7.2", "kvm")
    assert found.cpu.startswith("<cpu mode=") and "kvm64" in found.cpu
    assert found.project_id == ""


@pytest.mark.parametrize(
    ("metadata", "project"),
    [
        ("<wherry:instance xmlns:wherry='https://wherry.example/xmlns/1'><wherry:project>p1</wherry:project></wherry:instance>", "p1"),
        (
            "<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'><nova:owner>"
            "<nova:project uuid='p2'>demo</nova:project></nova:owner></nova:instance>",
            "p2",
        ),
        ("<other xmlns='urn:x'><project>p3</project></other>", ""),
    ],
)
def test_the_project_is_read_from_our_metadata_or_novas(metadata: str, project: str) -> None:
    assert _guest(metadata=metadata).project_id == project


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='writeback'/><source file='/i/a.qcow2'/>"
            "<backingStore type='file'><source file='/i/base.raw'/></backingStore><target dev='vda'/><shareable/></disk>",
            guest.Disk(
                name="vda",
                kind=guest.DiskKind.FILE,
                source="/i/a.qcow2",
                format="qcow2",
                cache="writeback",
                backing="/i/base.raw",
                shareable=True,
            ),
        ),
        (
            "<disk type='block' device='disk'><source dev='/dev/vg/a'/><target dev='vdb'/></disk>",
            guest.Disk(name="vdb", kind=guest.DiskKind.BLOCK, source="/dev/vg/a"),
        ),
        (
            "<disk type='network' device='disk'><source protocol='rbd' name='pool/image'/><target dev='vdc'/></disk>",
            guest.Disk(name="vdc", kind=guest.DiskKind.NETWORK, source="pool/image"),
        ),
        (
            "<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>",
            guest.Disk(name="sda", kind=guest.DiskKind.NONE, source="", device="cdrom", read_only=True),
        ),
    ],
)
def test_a_disk_is_read_with_its_source_and_kind(device: str, expected: guest.Disk) -> None:
    assert _guest(device).disks == (expected,)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("<interface type='bridge'><source bridge='br0'/><mac address='52:54:00:0:0:1'/></interface>", ("bridge", "br0", "52:54:00:0:0:1")),
        ("<interface type='network'><source network='n' bridge='virbr0'/></interface>", ("network", "n", "")),
        ("<interface type='direct'><source dev='eth0' mode='bridge'/></interface>", ("direct", "eth0", "")),
        ("<interface type='user'/>", ("user", "", "")),
    ],
)
def test_an_interface_is_read_with_its_network_and_address(device: str, expected: tuple[str, str, str]) -> None:
    (found,) = _guest(device).interfaces
    assert (found.kind, found.name, found.mac) == expected


_PCI = "<source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/></source>"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (f"<hostdev mode='subsystem' type='pci'>{_PCI}</hostdev>", ("pci 0000:3b:00.1",)),
        ("<hostdev type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>", ("usb 0x1234:0xbeef",)),
        ("<hostdev type='mdev'><source><address uuid='c2177883'/></source></hostdev>", ("mdev c2177883",)),
        ("<interface type='hostdev'><mac address='m'/></interface>", ("hostdev interface m",)),
        ("<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>", ("vdpa interface",)),
        (
            "<disk type='nvme'><source type='pci' namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>"
            "<target dev='vda'/></disk>",
            ("host NVMe 0000:01:00.0",),
        ),
        ("<filesystem type='mount'><source dir='/srv'/><target dir='t'/></filesystem>", ("host directory /srv",)),
        (
            "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
            ("TPM /dev/tpm0",),
        ),
        ("<tpm model='tpm-tis'><backend type='emulator'/></tpm>", ()),
        # QEMU unplugs the transient half of a failover pair by itself.
        (f"<interface type='hostdev'><teaming type='transient' persistent='ua-1'/>{_PCI}</interface>", ()),
    ],
)
def test_devices_of_the_host_are_named(device: str, expected: tuple[str, ...]) -> None:
    assert _guest(device).passthrough_devices == expected


def _with(element: str) -> str:
    """Give a domain with one more element beside its devices."""
    return DOMAIN.format(devices="", metadata="").replace("<devices>", f"{element}<devices>")


@pytest.mark.parametrize("kind", ["sev", "sev-snp", "tdx", "s390-pv"])
def test_memory_that_the_processor_encrypts_is_named(kind: str) -> None:
    assert domain_xml.parse_guest(_with(f"<launchSecurity type='{kind}'/>"), guest.GuestState.RUNNING).memory_encryption == kind
    assert not _guest("").memory_encryption


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("<memoryBacking><source type='file'/></memoryBacking>", "its memory is in a file of the host"),
        ("<memoryBacking><source type='memfd'/><access mode='shared'/><locked/></memoryBacking>", ""),
        ("<memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>", ""),
    ],
)
def test_memory_that_cannot_follow_by_post_copy(element: str, expected: str) -> None:
    assert domain_xml.parse_guest(_with(element), guest.GuestState.RUNNING).post_copy_obstacle == expected


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("<memory model='nvdimm'><source><path>/dev/pmem0</path></source></memory>", "it has persistent memory (nvdimm)"),
        ("<memory model='virtio-pmem'/>", "it has persistent memory (virtio-pmem)"),
        ("<memory model='dimm'/>", ""),
        ("<interface type='vhostuser'><source type='unix' path='/run/s' mode='client'/></interface>", "a process of the host (interface"),
        ("<disk type='vhostuser' device='disk'><source type='unix' path='/run/s'/></disk>", "a process of the host (disk"),
        ("<video><driver name='vhostuser'/></video>", "a process of the host (video"),
        ("<interface type='bridge'><source bridge='br0'/><driver name='vhost'/></interface>", ""),
        ("<tpm model='tpm-crb'><backend type='emulator'/></tpm>", ""),
    ],
)
def test_devices_that_rule_out_post_copy(device: str, expected: str) -> None:
    found = _guest(device).post_copy_obstacle
    assert found.startswith(expected) and bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("pages", "sizes", "is_all"),
    [
        ("", (), False),
        ("<page size='2048' unit='KiB'/>", (2048,), True),
        ("<page size='1' unit='G'/>", (1 << 20,), True),
        ("<page size='2048'/><page size='1' unit='GiB' nodeset='0'/>", (2048, 1 << 20), False),
        ("<page size='2' unit='M' nodeset='1'/>", (2048,), False),
    ],
)
def test_huge_pages_are_read_with_their_sizes_and_extent(pages: str, sizes: tuple[int, ...], is_all: bool) -> None:
    platform = domain_xml.parse_platform(_with(f"<memoryBacking><hugepages>{pages}</hugepages></memoryBacking>"))
    assert (platform.huge_pages_kib, platform.is_all_huge) == (sizes, is_all)


def test_what_a_destination_is_asked_about() -> None:
    platform = domain_xml.parse_platform(DOMAIN.format(devices="", metadata=""))
    assert platform.emulator == "/usr/bin/qemu-system-x86_64"
    assert (platform.architecture, platform.machine, platform.virtualization) == ("x86_64", "pc-q35-7.2", "kvm")
    assert platform.cpu_mode == "custom"
    # Not the guest's own variables: libvirt makes them from the template, QEMU sends their content along.
    assert set(platform.files) == {"/boot/vmlinuz", "/usr/share/OVMF/CODE.fd", "/usr/share/OVMF/VARS.fd"}


def test_a_definition_with_another_identity_differs_in_the_uuid_only() -> None:
    text = DOMAIN.format(devices="", metadata="")
    other = domain_xml.with_identity(text, "11111111-2222-3333-4444-555555555555")
    assert domain_xml.with_identity(other, "5b1c7b7c-6f0a-4a1e-9d0b-1f1c0f9f0a01") == domain_xml.with_identity(
        text, "5b1c7b7c-6f0a-4a1e-9d0b-1f1c0f9f0a01"
    )
    assert "11111111-2222-3333-4444-555555555555" in other and "5b1c7b7c" not in other


def test_written_chains_are_left_out_for_copied_disks_only() -> None:
    below = "<backingStore type='file'><source file='/i/base'/></backingStore>"
    disk = "<disk type='file'><source file='/i/{0}'/>" + below + "<target dev='{0}'/></disk>"
    text = DOMAIN.format(devices=disk.format("vda") + disk.format("vdb"), metadata="")
    changed = domain_xml.without_images_below(text, ["vda"])
    assert changed is not None
    assert [each.backing for each in domain_xml.parse_guest(changed, guest.GuestState.RUNNING).disks] == ["", "/i/base"]
    assert domain_xml.without_images_below(changed, ["vda"]) is None
    assert domain_xml.disk_paths(text) == {"/i/vda", "/i/vdb", "/i/base"}


def test_what_is_below_a_disk_has_its_own_format() -> None:
    below = "<backingStore type='file'><format type='raw'/><source file='/i/base'/><backingStore/></backingStore>"
    disks = f"<disk><driver name='qemu' type='qcow2'/><source file='/i/top'/>{below}</disk><disk><source dev='/dev/plain'/></disk>"
    text = DOMAIN.format(devices=disks + "<disk device='cdrom'/>", metadata="")
    assert domain_xml.disk_formats(text) == {"/i/top": "qcow2", "/i/base": "raw", "/dev/plain": "raw"}


def test_volumes_are_referred_to() -> None:
    text = DOMAIN.format(devices="<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>", metadata="")
    assert domain_xml.volume_references(text) == [domain_xml.VolumeReference(disk="vda", pool="p", volume="v")]


@pytest.mark.parametrize(("text", "expected"), [("<m unit='GiB'>2</m>", 2 << 30), ("<m>4</m>", 4096), ("<m unit='MB'>1</m>", 10**6)])
def test_sizes_are_read_in_their_units(text: str, expected: int) -> None:
    assert domain_xml.bytes_of(ET.fromstring(text)) == expected
