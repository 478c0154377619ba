# SPDX-License-Identifier: Apache-2.0
"""What a simulated fleet consists of: hosts, storage and guests.

Holds state and answers questions about it; what changes with time is the business of `copying`.
"""

from __future__ import annotations

import dataclasses
import enum
import posixpath
from collections.abc import Callable

from wherry.drivers import base
from wherry.drivers.simulated import network, profiles
from wherry.model import guest

GIB = 1 << 30
#: 10 Gbit a second.
DEFAULT_LINK_MIB_PER_S = 1192.0
DEFAULT_DIRECTORY = "/var/lib/wherry/instances"
_CPU = "simulated-cpu-level-"


class Store:
    """A file system: of one host alone, or seen by several."""

    __slots__ = ("capacity_bytes", "contents", "files", "has_locks", "is_coherent", "name", "used_bytes")

    def __init__(self, name: str, capacity_bytes: int = 1024 * GIB, *, is_coherent: bool = True, has_locks: bool = True) -> None:
        self.name = name
        self.capacity_bytes = capacity_bytes
        #: Whether what one host has cached is right for another.
        self.is_coherent = is_coherent
        #: Whether a lock taken on one host holds on another.
        self.has_locks = has_locks
        #: Size in bytes of each file, by its name.
        self.files: dict[str, int] = {}
        #: What is written in a file, where that is more than nothing: the name of a guest's disk.
        self.contents: dict[str, str] = {}
        self.used_bytes = 0

    @property
    def free_bytes(self) -> int:
        """What further files may take."""
        return max(0, self.capacity_bytes - self.used_bytes)

    def add(self, name: str, size_bytes: int, content: str = "") -> None:
        """Create a file; one of that name is replaced."""
        self.remove(name)
        self.files[name] = size_bytes
        self.used_bytes += size_bytes
        if content:
            self.contents[name] = content

    def grow(self, name: str, size_bytes: int) -> None:
        """Make a file larger, with what it holds; one that is as large is left."""
        more = max(0, size_bytes - self.files[name])
        self.files[name] += more
        self.used_bytes += more

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone is fine."""
        self.used_bytes -= self.files.pop(name, 0)
        self.contents.pop(name, None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestSpec:
    """A guest, wherever it is."""

    uuid: str
    name: str
    memory_mib: int = 2048
    vcpus: int = 1
    #: Memory that it changes, in MiB a second.
    dirty_mib_per_s: float = 0.0
    #: Memory among which these changes are; None = all.
    working_set_mib: float | None = None
    machine_type: str = "q35"
    #: Empty = the first that its host supports.
    hypervisor_type: str = ""
    #: It runs on hosts of this level and above.
    cpu_level: int = 1
    disks: tuple[guest.Disk, ...] = ()
    interfaces: tuple[guest.Interface, ...] = ()
    passthrough_devices: tuple[str, ...] = ()
    memory_encryption: str = ""
    post_copy_obstacle: str = ""
    snapshot_count: int = 0
    #: A job of the hypervisor, other than a migration, that keeps it busy.
    active_job: str = ""
    is_persistent: bool = True
    #: Simulated seconds that it takes to shut itself down when it is asked to; None = it does not heed that.
    shutdown_seconds: float | None = 2.0
    project_id: str = ""
    #: Files that were made for it by the driver, and what it has written to its console.
    made_files: tuple[str, ...] = ()
    console: str = ""


class Guest:
    """A guest as it is on one host. While it moves there are two of these."""

    __slots__ = (
        "boots",
        "has_autostart",
        "has_inactive_images",
        "has_saved_memory",
        "is_incoming",
        "shows_arrival",
        "spec",
        "state",
        "was_resumed_by_job",
    )

    def __init__(self, spec: GuestSpec, state: guest.GuestState = guest.GuestState.RUNNING, *, is_incoming: bool = False) -> None:
        self.spec = spec
        self.state = state
        self.is_incoming = is_incoming
        #: Whether it is off and will start with the memory that it had.
        self.has_saved_memory = False
        #: How many times it was started on this host.
        self.boots = 0
        #: Whether its host starts it together with itself.
        self.has_autostart = False
        #: Whether it arrived paused and has not run since: its images were never made this host's own.
        self.has_inactive_images = False
        #: Whether its hypervisor still tells that it came by a migration; a daemon that is started anew does not.
        self.shows_arrival = False
        #: Whether it runs because its hypervisor resumed it when a migration ended that had it paused.
        self.was_resumed_by_job = False


class Daemon(enum.Enum):
    """How a host's hypervisor answers."""

    UP = "up"
    #: Refuses connections.
    DOWN = "down"
    #: Takes calls and answers none.
    SILENT = "silent"


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Host:
    """One hypervisor host."""

    name: str
    hypervisor_uuid: str
    uplink: network.Link
    downlink: network.Link
    profile: profiles.Profile = profiles.LIBVIRT
    #: Where it would be managed.
    address: str = ""
    #: 7.2.0 and 9.0.0, in Nova's way of writing.
    hypervisor_version: int = 7_002_000
    manager_version: int = 9_000_000
    vcpus: int = 64
    memory_mib: int = 262_144
    cpu_level: int = 1
    machine_types: frozenset[str] = frozenset({"pc", "q35"})
    bridges: frozenset[str] = frozenset({"br0"})
    networks: frozenset[str] = frozenset({"default"})
    #: Directory -> what is mounted there.
    stores: dict[str, Store] = dataclasses.field(default_factory=dict)
    guests: dict[str, Guest] = dataclasses.field(default_factory=dict)
    daemon: Daemon = Daemon.UP
    receivers: list[Callable[[base.Signal], None]] = dataclasses.field(default_factory=list)
    #: Called when a silent daemon answers again or dies.
    waiters: list[Callable[[], None]] = dataclasses.field(default_factory=list)

    def store_of(self, path: str) -> Store | None:
        """Give what holds this path; None where nothing does."""
        return self.stores.get(posixpath.dirname(path))

    def has_file(self, path: str) -> bool:
        """Whether the file is readable here."""
        store = self.store_of(path)
        return store is not None and posixpath.basename(path) in store.files

    def would_lose(self, local: Guest) -> bool:
        """Whether its hypervisor would die of giving the guest's images up at the end of a migration."""
        first = self.profile.first_to_send_on_paused
        has_images = any(disk.source for disk in local.spec.disks)
        return local.has_inactive_images and has_images and first is not None and self.hypervisor_version < first

    def knows_machine_type(self, machine_type: str) -> bool:
        """Whether a guest of this machine type can start here."""
        return not machine_type or machine_type in self.machine_types


def cpu_text(level: int) -> str:
    """Write a CPU level as hosts and guests show it."""
    return f"{_CPU}{level}"


def cpu_level(text: str) -> int | None:
    """Read it back; None where it was not written by this driver."""
    number = text.removeprefix(_CPU)
    return int(number) if number != text and number.isdigit() else None
