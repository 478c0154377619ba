# SPDX-License-Identifier: Apache-2.0
"""Writes the definition of a guest that is made, and reads from a definition what was made for its guest. Pure: asks no hypervisor."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

from wherry.drivers.libvirt import domain_xml, xml_reading
from wherry.model import build

_URI = domain_xml.METADATA_URI
_MADE = f"{{{_URI}}}made"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What a guest's definition says beside its order."""

    #: "kvm" or "qemu".
    virtualization: str
    architecture: str
    machine: str
    #: The <cpu> element; empty for the hypervisor's default.
    cpu: str
    disk: str
    console: str
    #: Empty for no interface.
    bridge: str


def write(order: build.GuestOrder, frame: Frame) -> str:
    """Give the definition."""
    ET.register_namespace("wherry", _URI)
    domain = ET.Element("domain", type=frame.virtualization)
    _text(domain, "uuid", order.uuid)
    _text(domain, "name", order.name)
    # Anything but a line break may stand in a title.
    _text(domain, "title", " ".join(order.title.split()))
    domain.append(_metadata(order, frame))
    _text(domain, "memory", str(order.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(order.vcpus))
    os_part = ET.SubElement(domain, "os")
    _text(os_part, "type", "hvm", arch=frame.architecture, machine=frame.machine)
    ET.SubElement(os_part, "boot", dev="hd")
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if frame.cpu:
        domain.append(xml_reading.parse(frame.cpu))
    ET.SubElement(domain, "clock", offset="utc")
    # A guest that shuts itself down stays defined: it is a stopped server.
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(domain, event, action)
    domain.append(_devices(frame))
    return ET.tostring(domain, encoding="unicode")


def made_files(text: str) -> list[str]:
    """Give the paths of what was made for the guest of a definition; nothing for one that was only found."""
    root = xml_reading.parse(text)
    return [path for element in root.iterfind(f"metadata//{_MADE}") if (path := (element.text or "").strip()).startswith("/")]


def console_file(text: str) -> str:
    """Give the path of the file that the guest's serial console is written to; empty where none is."""
    root = xml_reading.parse(text)
    for element in (*root.iterfind("devices/serial"), *root.iterfind("devices/console")):
        if element.get("type") == "file" and (source := element.find("source")) is not None:
            return source.get("path", "")
        if (log := element.find("log")) is not None:
            return log.get("file", "")
    return ""


def _metadata(order: build.GuestOrder, frame: Frame) -> ET.Element:
    metadata = ET.Element("metadata")
    instance = ET.SubElement(metadata, f"{{{_URI}}}instance")
    for name, value in (
        ("name", order.title),
        ("project", order.project_id),
        ("user", order.user_id),
        ("image", order.image.id),
        ("made", frame.disk),
        ("made", frame.console),
    ):
        ET.SubElement(instance, f"{{{_URI}}}{name}").text = value
    return metadata


def _devices(frame: Frame) -> ET.Element:
    devices = ET.Element("devices")
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    # Without the host's page cache: so it may move while it runs.
    ET.SubElement(disk, "driver", name="qemu", type="qcow2", cache="none", discard="unmap")
    ET.SubElement(disk, "source", file=frame.disk)
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    if frame.bridge:
        interface = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(interface, "source", bridge=frame.bridge)
        ET.SubElement(interface, "model", type="virtio")
    for kind in ("serial", "console"):
        port = ET.SubElement(devices, kind, type="file")
        ET.SubElement(port, "source", path=frame.console, append="on")
        if kind == "serial":
            ET.SubElement(port, "target", port="0")
        else:
            ET.SubElement(port, "target", type="serial", port="0")
    random = ET.SubElement(devices, "rng", model="virtio")
    ET.SubElement(random, "backend", model="random").text = "/dev/urandom"
    return devices


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text
