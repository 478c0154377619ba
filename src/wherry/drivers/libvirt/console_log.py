# SPDX-License-Identifier: Apache-2.0
"""The file of a guest's serial console, and what becomes of it when it is long.

By libvirt's default (stdio_handler = "logd" in qemu.conf) virtlogd writes it: at 2 MiB it begins anew and keeps what was written before as
FILE.0, the youngest, FILE.1 and so on, three of them unless virtlogd.conf says otherwise. libvirt never deletes any.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable

import libvirt

from wherry.drivers.libvirt import storage

_SUFFIX = ".console.log"


def path_of(directory: str, instance_uuid: str) -> str:
    """Give the file for the console of a guest that is made."""
    return f"{directory}/{instance_uuid}{_SUFFIX}"


def with_earlier(handle: libvirt.virConnect, files: storage.Storage, paths: Iterable[str]) -> list[str]:
    """Give these paths, and beside each that `path_of` made those of what it held before, as far as they are there."""
    found = list(paths)
    for directory, name in [posixpath.split(path) for path in found if path.endswith(_SUFFIX)]:
        earlier = re.compile(re.escape(name) + r"\.[0-9]{1,5}")
        found += sorted(f"{directory}/{each}" for each in files.names(handle, directory) if earlier.fullmatch(each))
    return found


def read_end(handle: libvirt.virConnect, files: storage.Storage, path: str, most_bytes: int) -> bytes:
    """Give the end of what was written to a console, from as many files as it takes."""
    text = files.read_end(handle, path, most_bytes)
    for number in itertools.count():
        missing = most_bytes - len(text)
        earlier = files.read_end(handle, f"{path}.{number}", missing) if missing > 0 else b""
        if not earlier:
            return text
        text = earlier + text
    raise AssertionError("unreachable")
