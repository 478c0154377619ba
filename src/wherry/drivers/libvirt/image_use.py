# SPDX-License-Identifier: Apache-2.0
"""Which files of a host something is based on. Guesses nothing: what cannot be looked at ends the look.

What a guest may have written is believed no further than that it keeps one more image.
"""

from __future__ import annotations

import libvirt

from wherry.drivers.libvirt import storage


def paths_in_use(handle: libvirt.virConnect, files: storage.Storage, directory: str) -> set[str]:
    """Give every path that a disk of a domain, or of this directory, is or is based on.

    Of a guest that is off the definition names its own disk only, so the disks are asked. And the directory may be shared: what other hosts
    keep there is based on the same images.
    """
    found = set(storage.used_paths(handle))
    formats = storage.used_formats(handle)
    disks = found | {f"{directory}/{name}" for name in files.names(handle, directory)}
    for path in sorted(disks):
        # A block device is in no directory that one would want read.
        if not path.startswith("/") or path.startswith("/dev/"):
            continue
        disk_format = formats.get(path)
        if disk_format is None:
            # Perhaps a raw disk of a guest elsewhere, and named below it whatever that guest liked: no reason to go and look there.
            found.add(files.named_below(handle, path))
        elif disk_format != "raw":
            disk = files.image(handle, path, disk_format)
            found.update(files.chain(handle, disk) if disk is not None else ())
    return found
