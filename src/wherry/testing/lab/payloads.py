# SPDX-License-Identifier: Apache-2.0
"""Assembles what runs inside the lab's guests, and reads the beacon that it keeps.

Must not know libvirt: a payload is a file that QEMU boots, a beacon a few words of guest memory.

A payload is a 32-bit ELF with a PVH note: qboot reaches it 0.06 s after power on, where SeaBIOS and a boot sector take 4 to 15 s under
nested KVM.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import os
import pathlib
import re
import struct
import threading

from wherry.testing.lab import command, errors

PAGE_BYTES = 4096
PAGES_PER_MIB = 256

#: Where a payload's pages begin; below it live the firmware, the payload and its beacon.
REGION_START_MIB = 16

BEACON_ADDRESS = 0x200000
BEACON_WORDS = 8
BEACON_MAGIC = 0x59524857
STATE_DONE = 2

#: Where the n-th page of the region keeps its words: the count of passes, then (counter, touch) its index.
REGION_ADDRESS = REGION_START_MIB << 20

#: What a guest may run, and what that does.
KINDS = {
    "idle": "halts at once",
    "dirty": "rewrites its range at a rate, for ever",
    "touch": "fills its range once, each page differently, then halts",
    "counter": "like dirty, and checks each page before it writes it",
}

LINKER_SCRIPT = """
OUTPUT_FORMAT(elf32-i386)
ENTRY(_start)
PHDRS { all PT_LOAD FLAGS(7); note PT_NOTE FLAGS(4); }
SECTIONS
{
    . = 0x100000;
    .note.pvh : { *(.note.pvh) } :all :note
    .text : { *(.text) } :all
    .data : { *(.data) *(.bss) } :all
    /DISCARD/ : { *(.note.gnu.*) *(.comment) *(.eh_frame) }
}
"""


@dataclasses.dataclass(frozen=True)
class Beacon:
    """What a payload says of itself."""

    #: Whether the payload was reached at all.
    is_lit: bool
    #: Whether it has nothing more to write.
    is_done: bool
    #: Times the whole range was written.
    passes: int
    #: Pages written since boot.
    pages: int
    #: Pages that the counter payload found changed behind its back.
    errors: int
    #: The first of them, if there is one.
    first_bad_page: int


def parse_beacon(text: str) -> Beacon:
    """Read the answer of QEMU's monitor to `xp`."""
    words = [int(word, 16) for line in text.splitlines() for word in re.findall(r"0x([0-9a-f]{8})\b", line.partition(":")[2])]
    if len(words) < BEACON_WORDS:
        raise errors.LabError(f"the monitor's answer has no beacon: {' '.join(text.split())[:200]}")
    magic, state, passes, low, high, bad, first_bad, _ = words[:BEACON_WORDS]
    return Beacon(magic == BEACON_MAGIC, state == STATE_DONE, passes, high << 32 | low, bad, first_bad)


def check_counter_pages(pages: bytes) -> int:
    """Check the pages of the counter payload, as a dump has them; return the passes that all of them have seen.

    Each page holds its count of passes and its index. The counts are p+1 for the first pages and p for the rest, since the payload
    goes through them in order: anything else was lost, doubled or put elsewhere.

    :raises LabError: the pages are not so; the message names the first that is wrong.
    """
    words = [struct.unpack_from("<II", pages, start) for start in range(0, len(pages), PAGE_BYTES)]
    if not words:
        raise errors.LabError("the dump holds no page")
    first = previous = words[0][0]
    for index, (count, written) in enumerate(words):
        if written != index and count > 0:
            raise errors.LabError(f"page {index} says that it is page {written}")
        if count != previous and not (previous == first and count == first - 1):
            raise errors.LabError(f"page {index} was written {count} times, the one before it {previous} and the first one {first} times")
        previous = count
    return int(previous)


def build(directory: pathlib.Path, kind: str, *, range_mib: int = 1, rate_mib_per_s: float = 0) -> pathlib.Path:
    """Return the payload's file, assembled at first use; a rate of 0 means as fast as it can."""
    sources = importlib.resources.files("wherry.testing.lab") / "payload_sources"
    pages, pages_per_second = range_mib * PAGES_PER_MIB, round(rate_mib_per_s * PAGES_PER_MIB)
    with importlib.resources.as_file(sources) as folder:
        digest = hashlib.sha256(LINKER_SCRIPT.encode())
        for source in sorted(folder.glob("*.S")):
            digest.update(source.read_bytes())
        built = directory / f"{kind}-{pages}-{pages_per_second}-{digest.hexdigest()[:12]}.elf"
        if built.exists():
            return built
        directory.mkdir(parents=True, exist_ok=True)
        # Others may be making the same at this moment.
        draft = f"{built.stem}.{os.getpid()}-{threading.get_ident()}"
        script, compiled, linked = (directory / f"{draft}.{kind_of_file}" for kind_of_file in ("lds", "o", "linked"))
        script.write_text(LINKER_SCRIPT)
        defines = [f"-DPAGES={pages}", f"-DRATE_PAGES_PER_SECOND={pages_per_second}"]
        command.run(["gcc", "-m32", "-nostdlib", f"-I{folder}", *defines, "-c", str(folder / f"{kind}.S"), "-o", str(compiled)])
        command.run(["ld", "-m", "elf_i386", "-z", "noexecstack", "--build-id=none", "-T", str(script), "-o", str(linked), str(compiled)])
        linked.rename(built)
        for leftover in (script, compiled):
            leftover.unlink()
    return built
