# SPDX-License-Identifier: Apache-2.0
"""What is kept on disk about a lab, so that any later process can find it, use it and take it down.

Must not start or stop anything.

A lab has a name, a directory and a slot. The slot gives it its addresses and device names; slots are handed out under a lock from a
registry of the machine, so labs of different names never collide.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil

from wherry.testing.lab import errors, processes

REGISTRY = pathlib.Path("/run/wherry-lab")
DEFAULT_DIRECTORY = pathlib.Path("/var/lib/wherry-lab")
DEFAULT_NAME = "lab"
DEFAULT_HOST_COUNT = 3
MAX_HOST_COUNT = 200
SLOTS = 64

#: The /16 of all labs; slot s uses the third octets 2s (control) and 2s+1 (migration).
DEFAULT_ADDRESS_PREFIX = "10.213"


@dataclasses.dataclass
class LabRecord:
    """The facts of a lab that are not visible in the kernel."""

    name: str
    directory: str
    slot: int
    host_count: int
    #: libvirt's domain type of the guests: kvm or qemu.
    accelerator: str = "kvm"
    #: Why it is not kvm.
    accelerator_reason: str = ""
    #: Features of kvm64 that guests do without.
    missing_features: list[str] = dataclasses.field(default_factory=list)
    #: Added to each round trip between the control plane and a host, by host name.
    control_delay_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    #: netem or relay.
    delay_by: str = "relay"
    #: Whether `up` came to its end.
    is_complete: bool = False
    #: Boot id, pid and start time of the process that brought it up.
    owner: list[str] = dataclasses.field(default_factory=list)

    #: Silence after which a libvirtd gives up the one it migrates to; None is libvirt's own 30 s.
    peer_silence_seconds: int | None = None
    #: The lab's /16, of which it has two /24.
    address_prefix: str = DEFAULT_ADDRESS_PREFIX

    @property
    def run_directory(self) -> pathlib.Path:
        """Where its pid files are."""
        return REGISTRY / self.name

    @property
    def path(self) -> pathlib.Path:
        """The lab's directory."""
        return pathlib.Path(self.directory)

    def control_address(self, number: int) -> str:
        """Return the n-th address of the control network; hosts begin at 11, the machine itself is 1."""
        return f"{self.address_prefix}.{2 * self.slot}.{number}"

    def migration_address(self, number: int) -> str:
        """Return the n-th address of the migration network."""
        return f"{self.address_prefix}.{2 * self.slot + 1}.{number}"

    @property
    def uplink(self) -> str:
        """The machine's own device on the control network."""
        return f"wlab{self.slot}"

    def save(self) -> None:
        """Write the record into the lab's directory."""
        _write(self.path / "lab.json", dataclasses.asdict(self))


def check_name(name: str) -> None:
    """Refuse a name that cannot be part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name):
        raise errors.LabError(f"lab name {name!r}: use 1 to 40 letters, digits, '-', '_' or '.', beginning with a letter or digit")


def check_directory(directory: pathlib.Path) -> None:
    """Refuse a directory that cannot hold a lab: not ours, or hidden on the hosts by their own mounts."""
    for hidden in ("/run", "/var/run", "/proc", "/sys", "/var/lib/libvirt", "/var/cache/libvirt", "/etc/libvirt"):
        if directory.is_relative_to(hidden):
            raise errors.LabError(f"lab directory {directory}: the lab's hosts have a {hidden} of their own; choose a directory elsewhere")
    if directory.exists() and not (directory / "lab.json").exists() and any(directory.iterdir()):
        raise errors.LabError(f"lab directory {directory} holds other files; name an empty or a new one")


def load(directory: pathlib.Path) -> LabRecord | None:
    """Read the record of the lab in a directory, if one is there and was made since this boot or earlier."""
    try:
        found = json.loads((directory / "lab.json").read_text())
    except (OSError, ValueError):
        return None
    known = {field.name for field in dataclasses.fields(LabRecord)}
    return LabRecord(**{key: value for key, value in found.items() if key in known})


@contextlib.contextmanager
def locked(name: str = "") -> collections.abc.Iterator[None]:
    """Keep others from bringing this lab up or down meanwhile; without a name, from choosing a slot."""
    REGISTRY.mkdir(mode=0o755, exist_ok=True)
    # A few lock files for all names there ever were: two labs that share one wait for each other, which costs a second.
    which = str(_hash(name) % SLOTS) if name else "slots"
    with (REGISTRY / f".lock-{which}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def registered() -> dict[str, tuple[pathlib.Path, int]]:
    """Return directory and slot of each lab of this machine, by name."""
    labs = {}
    for entry in sorted(REGISTRY.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            content = json.loads(entry.read_text())
            labs[entry.stem] = (pathlib.Path(content["directory"]), int(content["slot"]))
    return labs


def register(name: str, directory: pathlib.Path) -> int:
    """Give the lab its slot, the one it has or a free one."""
    with locked():
        labs = registered()
        taken = {slot for other, (_, slot) in labs.items() if other != name}
        taken |= {slot for slot in range(SLOTS) if name not in labs and pathlib.Path(f"/sys/class/net/wlab{slot}").exists()}
        first = labs[name][1] if name in labs else _hash(name) % SLOTS
        for slot in ((first + step) % SLOTS for step in range(SLOTS)):
            if slot not in taken:
                (REGISTRY / name).mkdir(exist_ok=True)
                _write(REGISTRY / f"{name}.json", {"directory": str(directory), "slot": slot})
                return slot
    raise errors.LabError(f"all {SLOTS} lab slots of this machine are taken: take a lab down first ({', '.join(sorted(labs))})")


def unregister(name: str) -> None:
    """Give the lab's slot back."""
    with locked():
        shutil.rmtree(REGISTRY / name, ignore_errors=True)
        (REGISTRY / f"{name}.json").unlink(missing_ok=True)


def this_process() -> list[str]:
    """Identify the calling process, for the record's owner."""
    own = processes.identify(os.getpid())
    return [processes.boot_id(), str(os.getpid()), str(own.started_ticks if own else 0)]


def is_orphan(record: LabRecord) -> bool:
    """Whether the process that brought the lab up is gone."""
    if len(record.owner) != 3 or record.owner[0] != processes.boot_id():
        return True
    return not processes.Process(int(record.owner[1]), int(record.owner[2])).is_alive


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])


def _write(path: pathlib.Path, content: object) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.rename(path)
