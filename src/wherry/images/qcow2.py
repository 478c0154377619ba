# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of a qcow2 image say, and what of it a host must not follow. Reads no more than the header."""

from __future__ import annotations

import dataclasses
import struct

MAGIC = b"QFI\xfb"
#: Bytes that `read` wants, where there are so many.
HEADER_BYTES = 80
#: Magic, version, offset and size of the name of the image below, cluster bits, virtual size.
_HEAD = struct.Struct(">IIQIIQ")
_INCOMPATIBLE = struct.Struct(">Q")
_INCOMPATIBLE_AT = 72
_KNOWN_VERSIONS = (2, 3)
#: Its data is in another file, which the header names.
_DATA_FILE_BIT = 1 << 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """One header."""

    #: Size of the disk that a guest sees.
    virtual_bytes: int
    #: Why a host must not open it: it would read files of the host that the image names. Empty for no reason.
    danger: str = ""


def read(begin: bytes) -> Header | None:
    """Read the first bytes of a file; None when it is no qcow2."""
    if not begin.startswith(MAGIC) or len(begin) < _HEAD.size:
        return None
    _, version, backing_at, _, _, virtual_bytes = _HEAD.unpack_from(begin)
    danger = ""
    if version not in _KNOWN_VERSIONS:
        danger = f"its version {version} of qcow2 is not known"
    elif backing_at:
        danger = "it is based on another image; convert it (qemu-img convert)"
    elif version > _KNOWN_VERSIONS[0] and len(begin) < HEADER_BYTES:
        danger = "its header is cut off"
    elif version > _KNOWN_VERSIONS[0] and _INCOMPATIBLE.unpack_from(begin, _INCOMPATIBLE_AT)[0] & _DATA_FILE_BIT:
        danger = "its data is in another file; convert it (qemu-img convert)"
    return Header(virtual_bytes=virtual_bytes, danger=danger)
