# SPDX-License-Identifier: Apache-2.0
"""A guest of the lab: what it is made of, its domain XML, and how it does.

Must not import libvirt: what it wants to know it asks virsh.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import pathlib
import re
import time
import uuid
import xml.sax.saxutils

from wherry.testing.lab import command, errors, machine, payloads, state
from wherry.testing.lab import host as lab_host

#: How long a guest may take to reach its payload; 0.1 s under KVM, longer on a busy machine under TCG.
BOOT_TIMEOUT_SECONDS = 20.0

#: Over which time a dirty rate is measured.
RATE_WINDOW_SECONDS = 0.5

#: Below the hole for devices that q35 leaves at 2 GiB.
MAX_RANGE_MIB = 2000

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
DISKS = ("none", "shared", "private")
DISK_FORMATS = ("raw", "qcow2")
MACHINES = ("pc", "q35")


@dataclasses.dataclass(frozen=True)
class GuestSpec:
    """What a guest is to be."""

    name: str
    payload: str = "idle"
    memory_mib: int = 128
    vcpus: int = 1
    uuid: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    #: MiB that dirty, touch and counter write; they begin 16 MiB up.
    range_mib: int = 64
    #: How fast dirty and counter write; 0 is as fast as they can.
    rate_mib_per_s: float = 0
    #: none, shared (one file that all hosts see) or private (a directory of each host's own at the same path).
    disk: str = "none"
    disk_format: str = "raw"
    disk_mib: int = 64
    disk_cache: str = "none"
    #: Whether QEMU takes no lock on it.
    disk_shareable: bool = False
    #: Whether the host keeps its definition when it is off.
    persistent: bool = False
    #: Whether it starts paused, before its first instruction.
    paused: bool = False
    machine: str = "pc"
    #: A bridge of the host for a network card; none without. Every lab host has one named lab0.
    bridge: str = ""
    #: libvirt's domain type, kvm or qemu; empty is the lab's.
    accelerator: str = ""
    #: XML that goes into <devices> as it is.
    extra_devices: str = ""
    #: XML that goes into <domain> as it is.
    extra_domain: str = ""

    def check(self) -> None:
        """Raise unless a guest like this can be."""
        wrong = [
            (not NAME.fullmatch(self.name), f"guest name {self.name!r}: use letters, digits, '-', '_' or '.'"),
            (self.payload not in payloads.KINDS, f"payload {self.payload!r}: use one of {', '.join(payloads.KINDS)}"),
            (self.disk not in DISKS, f"disk {self.disk!r}: use one of {', '.join(DISKS)}"),
            (self.disk_format not in DISK_FORMATS, f"disk format {self.disk_format!r}: use one of {', '.join(DISK_FORMATS)}"),
            (self.machine not in MACHINES, f"machine {self.machine!r}: use one of {', '.join(MACHINES)}"),
            (self.accelerator not in ("", "kvm", "qemu"), f"accelerator {self.accelerator!r}: use kvm or qemu"),
            (self.memory_mib < self._least_memory_mib, f"memory {self.memory_mib} MiB is too small: use {self._least_memory_mib} or more"),
            (self.range_mib > MAX_RANGE_MIB, f"range {self.range_mib} MiB: use {MAX_RANGE_MIB} or less"),
            (self.range_mib < 1, f"range {self.range_mib} MiB: use 1 or more"),
            (self.rate_mib_per_s < 0, f"rate {self.rate_mib_per_s} MiB/s: use 0 (as fast as it can) or more"),
            (self.vcpus < 1 or self.disk_mib < 1, "vcpus and disk MiB: use 1 or more"),
        ]
        for is_wrong, why in wrong:
            if is_wrong:
                raise errors.LabError(why)

    @property
    def _least_memory_mib(self) -> int:
        return payloads.REGION_START_MIB + (math.ceil(self.range_mib) if self.payload != "idle" else 0)

    def disk_path(self, record: state.LabRecord) -> str:
        """Return the path of the disk as the host sees it."""
        folder = str(record.path / "shared") if self.disk == "shared" else lab_host.PRIVATE_IMAGES
        return f"{folder}/{self.name}.{self.disk_format}"


class Guest:
    """A guest, wherever in the lab it is."""

    def __init__(self, record: state.LabRecord, hosts: collections.abc.Sequence[lab_host.Host], spec: GuestSpec) -> None:
        self.name = spec.name
        self.uuid = spec.uuid
        self.spec = spec
        self._record = record
        self._hosts = hosts

    def start(self, on: lab_host.Host) -> None:
        """Make its disk and its domain on a host, and return when its payload runs (or it is paused, as asked)."""
        self._make_disk(on)
        description = domain_xml(self.spec, self._record, self._build_payload())
        (self._record.path / "guests" / f"{self.name}.json").write_text(json.dumps(dataclasses.asdict(self.spec), indent=2) + "\n")
        paused = ["--paused"] if self.spec.paused else []
        if self.spec.persistent:
            on.virsh("define", "/dev/stdin", stdin=description)
            on.virsh("start", self.name, *paused)
        else:
            on.virsh("create", "/dev/stdin", *paused, stdin=description)
        if not self.spec.paused:
            self.wait_for_payload(on)

    def wait_for_payload(self, on: lab_host.Host | None = None) -> None:
        """Wait until it runs what it was made for: lit, and writing or done writing where it writes."""
        place = on or self.host

        def is_reached() -> bool:
            seen = self.beacon(place)
            return seen.is_lit and (self.spec.payload == "idle" or seen.is_done or (self.spec.payload != "touch" and seen.pages > 0))

        command.wait_until(is_reached, f"guest {self.name} to reach its payload", timeout_seconds=BOOT_TIMEOUT_SECONDS)

    # ---------------------------------------------------------------- how it does

    def where(self, *, active_only: bool = True) -> list[str]:
        """Return the names of the hosts that have it, running or paused; with active_only off also those that only define it."""
        return [each.name for each in self._hosts if each.is_up and self.name in each.domains(active_only=active_only)]

    @property
    def host(self) -> lab_host.Host:
        """The one host that has it active; while it migrates, the one where it runs.

        :raises LabError: no such host, or several.
        """
        found = self.where()
        if len(found) > 1:
            found = [each.name for each in self._hosts if each.name in found and each.domain_state(self.name).startswith("running")]
        if len(found) != 1:
            raise errors.LabError(f"guest {self.name} is active on {', '.join(found) or 'no host'}: name the host that is meant")
        return next(each for each in self._hosts if each.name == found[0])

    def state(self, on: lab_host.Host | None = None) -> str:
        """Return libvirt's word for its state, with the reason, there where it is or on a host."""
        return (on or self.host).domain_state(self.name)

    def beacon(self, on: lab_host.Host | None = None) -> payloads.Beacon:
        """Read what its payload says, out of its memory."""
        asked = f"xp /{payloads.BEACON_WORDS}xw {payloads.BEACON_ADDRESS:#x}"
        return payloads.parse_beacon((on or self.host).virsh("qemu-monitor-command", self.name, "--hmp", asked))

    def measure_dirty_rate(self, on: lab_host.Host | None = None, *, window_seconds: float = RATE_WINDOW_SECONDS) -> float:
        """Measure for a while how many MiB of pages it writes in a second; counted by itself, so exact."""
        place = on or self.host
        before, begun = self.beacon(place).pages, time.monotonic()
        command.pause(window_seconds)
        after, ended = self.beacon(place).pages, time.monotonic()
        return (after - before) / payloads.PAGES_PER_MIB / (ended - begun)

    @property
    def dirty_rate(self) -> float:
        """MiB of pages that it writes in a second, measured now; a page written twice counts twice."""
        return self.measure_dirty_rate()

    def check_memory(self, on: lab_host.Host | None = None) -> None:
        """Prove by the counter payload's own checks that no page was lost or went back in time.

        :raises LabError: one was, or the payload does not check.
        """
        if self.spec.payload != "counter":
            raise errors.LabError(f"guest {self.name} runs {self.spec.payload}: only counter checks its memory")
        if (seen := self.beacon(on)).errors:
            raise errors.LabError(f"guest {self.name} found {seen.errors} wrong pages, the first with index {seen.first_bad_page}")

    def check_memory_dump(self, on: lab_host.Host | None = None) -> int:
        """Prove the same from outside: dump the counter payload's pages, with the guest paused meanwhile, and check each.

        Return how many passes all pages have seen.

        :raises LabError: a page was lost, doubled or put elsewhere.
        """
        place = on or self.host
        was_running = self.state(place).startswith("running")
        path = self._record.path / "guests" / f"{self.name}.pages"
        if was_running:
            place.virsh("suspend", self.name)
        try:
            asked = f'pmemsave {payloads.REGION_ADDRESS:#x} {self.spec.range_mib << 20:#x} "{path}"'
            if said := place.virsh("qemu-monitor-command", self.name, "--hmp", asked).strip():
                raise errors.LabError(f"QEMU could not dump the memory of {self.name}: {said}")
            return payloads.check_counter_pages(path.read_bytes())
        finally:
            path.unlink(missing_ok=True)
            if was_running:
                place.virsh("resume", self.name)

    # ---------------------------------------------------------------- its end

    def destroy(self) -> None:
        """Remove it from every host, with the disks the lab made for it; nothing happens if it is gone."""
        for place in self._hosts:
            if not place.is_up:
                continue
            if self.name in place.domains():
                for words in (("destroy", self.name), ("undefine", self.name, "--nvram")):
                    try:
                        place.virsh(*words)
                    except errors.CommandFailed as problem:
                        # Off already; or transient, and gone with its process.
                        if not any(known in problem.stderr for known in ("not running", "failed to get domain", "Domain not found")):
                            raise
            (place.private_images / pathlib.Path(self.spec.disk_path(self._record)).name).unlink(missing_ok=True)
        if self.spec.disk == "shared":
            pathlib.Path(self.spec.disk_path(self._record)).unlink(missing_ok=True)
        (self._record.path / "guests" / f"{self.name}.json").unlink(missing_ok=True)

    # ---------------------------------------------------------------- what it is made of

    def _build_payload(self) -> pathlib.Path:
        spec, folder = self.spec, self._record.path / "payloads"
        match spec.payload:
            case "idle":
                return payloads.build(folder, "idle")
            case "touch":
                return payloads.build(folder, "touch", range_mib=spec.range_mib)
            case _:
                return payloads.build(folder, spec.payload, range_mib=spec.range_mib, rate_mib_per_s=spec.rate_mib_per_s)

    def _make_disk(self, on: lab_host.Host) -> None:
        if self.spec.disk == "none":
            return
        seen = pathlib.Path(self.spec.disk_path(self._record))
        path = on.private_images / seen.name if self.spec.disk == "private" else seen
        command.run(["qemu-img", "create", "-q", "-f", self.spec.disk_format, str(path), f"{self.spec.disk_mib}M"])


def load_spec(record: state.LabRecord, name: str) -> GuestSpec:
    """Read what a guest was made from.

    :raises LabError: the lab made no guest of this name.
    """
    try:
        found = json.loads((record.path / "guests" / f"{name}.json").read_text())
    except FileNotFoundError:
        raise errors.LabError(f"lab {record.name} made no guest {name!r}: see `wherry lab guest list`") from None
    return GuestSpec(**found)


def domain_xml(spec: GuestSpec, record: state.LabRecord, payload: pathlib.Path) -> str:
    """Describe the domain for libvirt."""
    quote = xml.sax.saxutils.quoteattr
    features = "".join(f"<feature policy='disable' name='{feature}'/>" for feature in record.missing_features)
    disk = bridge = ""
    if spec.disk != "none":
        shareable = "<shareable/>" if spec.disk_shareable else ""
        path = quote(spec.disk_path(record))
        driver = f"<driver name='qemu' type='{spec.disk_format}' cache='{spec.disk_cache}'/>"
        disk = f"<disk type='file' device='disk'>{driver}<source file={path}/><target dev='vda' bus='virtio'/>{shareable}</disk>"
    if spec.bridge:
        bridge = f"<interface type='bridge'><source bridge={quote(spec.bridge)}/><model type='virtio'/></interface>"
    return f"""\
<domain type='{spec.accelerator or record.accelerator}'>
  <name>{spec.name}</name>
  <uuid>{spec.uuid}</uuid>
  <memory unit='MiB'>{spec.memory_mib}</memory>
  <vcpu>{spec.vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='{spec.machine}'>hvm</type>
    <loader readonly='yes' type='rom'>{machine.QBOOT}</loader>
    <kernel>{xml.sax.saxutils.escape(str(payload))}</kernel>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>kvm64</model>{features}</cpu>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{machine.QEMU}</emulator>
    {disk}
    {bridge}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {spec.extra_devices}
  </devices>
  {spec.extra_domain}
</domain>
"""
