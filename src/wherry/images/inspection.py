# SPDX-License-Identifier: Apache-2.0
"""Whether an image is what it is said to be, and names no file that a host would follow. Asked before any host sees it."""

from __future__ import annotations

from wherry import errors
from wherry.images import qcow2

#: Bytes from an image's beginning that `require_harmless` wants, where there are so many.
HEAD_BYTES = qcow2.HEADER_BYTES
#: How those formats begin of which libvirt reads the name of an image below: in every file of a directory, whatever it is said to be.
_NAMING_OTHERS = ((qcow2.MAGIC, "qcow2"), (b"KDMV", "vmdk"), (b"QED\0", "qed"), (b"OOOM", "cow"))


def require_harmless(image_id: str, disk_format: str, begin: bytes) -> None:
    """Make sure that a host may have an image of these first bytes.

    :raises ImageRefused: it is of another format than it is said to be, or names other files.
    """
    detail = _danger_of_qcow2(begin) if disk_format == "qcow2" else _danger_of_raw(begin)
    if detail:
        raise errors.ImageRefused(image=image_id, detail=detail)


def _danger_of_qcow2(begin: bytes) -> str:
    header = qcow2.read(begin)
    return header.danger if header is not None else "it is said to be qcow2 and is not"


def _danger_of_raw(begin: bytes) -> str:
    for magic, name in _NAMING_OTHERS:
        if begin.startswith(magic):
            return f"it is taken for raw and looks like {name}; convert it (qemu-img convert), or say what it is"
    return ""
