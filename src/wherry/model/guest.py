# SPDX-License-Identifier: Apache-2.0
"""What an agent knows of a guest on its host: description, and the state that the truth table reads.

Neutral between hypervisors: what only one driver understands is an opaque string here.
"""

from __future__ import annotations

import dataclasses
import enum


class GuestState(enum.StrEnum):
    """What one hypervisor says of one guest, seen at one moment."""

    RUNNING = "running"
    #: Paused by a person, by force-complete or by whoever; not by the migration's own switch-over.
    PAUSED = "paused"
    #: Paused by the hypervisor at the end of a copy, or waiting at the destination for the copy to arrive.
    PAUSED_FOR_SWITCH_OVER = "paused_for_switch_over"
    #: Post-copy is under way: paused at the source, or running at the destination with memory still missing.
    POST_COPY = "post_copy"
    #: Post-copy has lost its connection; both sides are needed.
    POST_COPY_FAILED = "post_copy_failed"
    #: Defined, not active: shut down, crashed or destroyed.
    SHUT_OFF = "shut_off"
    #: The hypervisor answered, and has no such guest.
    ABSENT = "absent"
    #: The hypervisor did not answer. Never the same as absent.
    UNREACHABLE = "unreachable"


class DiskKind(enum.StrEnum):
    """What a disk's source is."""

    FILE = "file"
    BLOCK = "block"
    NETWORK = "network"
    #: A directory or an empty drive: nothing to classify.
    NONE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """One disk or drive of a guest."""

    #: The device's name in the guest's definition: "vda".
    name: str
    kind: DiskKind
    #: Path, or pool/image for a network disk; empty for an empty drive.
    source: str
    #: "raw", "qcow2", …
    format: str = "raw"
    #: Size that the guest sees, in bytes; 0 when unknown.
    capacity_bytes: int = 0
    #: Space it takes on its storage now, in bytes; 0 when unknown.
    allocation_bytes: int = 0
    #: "disk", "cdrom" or "floppy".
    device: str = "disk"
    read_only: bool = False
    #: Whether several guests may write it at once; such a disk has no lock.
    shareable: bool = False
    #: The guest's cache mode; empty = the hypervisor's default.
    cache: str = ""
    #: Path of the image below it, for an overlay; empty for none.
    backing: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """One network interface of a guest."""

    #: "bridge", "network", "ethernet", "user", …
    kind: str
    #: Name of the bridge or network on the host; empty where the kind has none.
    name: str = ""
    mac: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """A guest as its host describes it; `definition` is the driver's own and opaque to everyone else."""

    uuid: str
    name: str
    state: GuestState
    memory_mib: int
    vcpus: int
    machine_type: str = ""
    #: "kvm", "qemu", …: what a destination must offer.
    hypervisor_type: str = ""
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    #: Devices of the host that it uses directly; none of them can move.
    passthrough_devices: tuple[str, ...] = ()
    #: How its memory is encrypted, so that nothing can read it to send it; empty for not.
    memory_encryption: str = ""
    #: Why its memory cannot follow it by post-copy; empty where nothing speaks against it.
    post_copy_obstacle: str = ""
    snapshot_count: int = 0
    #: Name of the job that the hypervisor is running for it; empty for none.
    active_job: str = ""
    #: Whether its definition outlives its shutdown.
    is_persistent: bool = True
    #: Whether it is here only because a migration is bringing it in, so that it is no server of this host yet.
    is_incoming: bool = False
    #: The CPU that the running guest really has, as the driver writes it.
    cpu: str = ""
    #: The definition that may be started elsewhere, as the driver writes it.
    definition: str = ""
    #: Project named in the guest's own metadata; empty for none.
    project_id: str = ""

    @property
    def root_gib(self) -> int:
        """Size of its first disk."""
        first = next((disk for disk in self.disks if disk.device == "disk"), None)
        return first.capacity_bytes >> 30 if first else 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskUsage:
    """What has gone through one disk since the guest started; None = not counted."""

    #: The device's name in the guest's definition: "vda".
    name: str
    read_bytes: int | None = None
    read_requests: int | None = None
    write_bytes: int | None = None
    write_requests: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What has gone one way through one interface since the guest started; None = not counted."""

    bytes: int | None = None
    packets: int | None = None
    errors: int | None = None
    drops: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InterfaceUsage:
    """What has gone through one interface, as the guest sees it."""

    #: The device on the host: "vnet3".
    name: str
    mac: str = ""
    received: Traffic = Traffic()
    sent: Traffic = Traffic()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a guest has used since it started, as its hypervisor counts."""

    #: Processor time of each vCPU; None = not counted.
    vcpu_nanoseconds: tuple[int | None, ...] = ()
    disks: tuple[DiskUsage, ...] = ()
    interfaces: tuple[InterfaceUsage, ...] = ()
    memory_used_mib: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One side of the truth table: what a hypervisor says of a guest and of its migration job."""

    state: GuestState
    #: Whether the hypervisor has a migration job for it under way on this side.
    has_job: bool = False
    detail: str = ""
    #: Whether it runs because its hypervisor itself resumed it when a migration ended that had it paused; true until it stands still again.
    was_resumed_by_job: bool = False
