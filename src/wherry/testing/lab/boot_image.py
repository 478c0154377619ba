# SPDX-License-Identifier: Apache-2.0
"""A small bootable disk image, assembled here: it counts its boots on its own disk and tells the serial console.

At its first boot it writes a pattern 512 MiB behind, beyond the image, at each other one it looks whether that is whole.
For what the payloads cannot do, which have no disk: a server that is made from an image boots from it. SeaBIOS takes some seconds.
"""

from __future__ import annotations

import importlib.resources
import pathlib
import re
import tempfile

from wherry.testing.lab import command

IMAGE_BYTES = 1 << 20
_SECTOR_BYTES = 512


def build(path: pathlib.Path) -> pathlib.Path:
    """Write the image, a raw disk of 1 MiB, to this path and give it back."""
    sources = importlib.resources.files("wherry.testing.lab") / "payload_sources"
    with importlib.resources.as_file(sources) as folder, tempfile.TemporaryDirectory() as scratch:
        compiled, linked = (pathlib.Path(scratch) / name for name in ("boot.o", "boot.bin"))
        command.run(["gcc", "-m32", "-nostdlib", "-c", str(folder / "boot.S"), "-o", str(compiled)])
        linking = ["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "--build-id=none", "-z", "noexecstack"]
        command.run(["ld", *linking, "-o", str(linked), str(compiled)])
        sector = linked.read_bytes()[:_SECTOR_BYTES]
    path.write_bytes(sector + bytes(IMAGE_BYTES - len(sector)))
    return path


def boots(console: str) -> list[int]:
    """Give the numbers of the boots that a console tells of, in order."""
    return [int(number) for number in re.findall(r"^boot (\d+)\r?$", console, re.MULTILINE)]


def patterns(console: str) -> list[str]:
    """Give what became of the pattern at the boots that a console tells of, in order: "written", "whole" or "lost"."""
    return re.findall(r"^pattern (written|whole|lost)\r?$", console, re.MULTILINE)
