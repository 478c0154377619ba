# SPDX-License-Identifier: Apache-2.0
"""Images: what a server's disk begins as.

Pure. Where the bytes are is the business of `images/`.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

#: Formats in which an image may be.
FORMATS = ("qcow2", "raw")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One image, as its index or Glance knows it."""

    #: A uuid.
    id: str
    name: str
    size_bytes: int
    #: Hash of the bytes, in hexadecimal, and by what it was made, in hashlib's words.
    checksum: str
    checksum_algorithm: str = "sha256"
    #: Size of the disk that a guest sees, in bytes; 0 when it is not known.
    virtual_bytes: int = 0
    #: One of FORMATS.
    disk_format: str
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created_at: datetime.datetime
