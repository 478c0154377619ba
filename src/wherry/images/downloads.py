# SPDX-License-Identifier: Apache-2.0
"""Files of images on their way from an image service to a host: each is there while somebody reads it, and no longer.

Whoever has one open has it locked: what nobody has locked is a dead process's, and goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import tempfile
import threading
from collections.abc import Generator
from typing import IO

from wherry import errors
from wherry.images import inspection
from wherry.model import image

_SUFFIX = ".download"


class Stopped(Exception):
    """Nobody wants it any more."""


def sweep(directory: pathlib.Path) -> list[str]:
    """Delete what dead processes left; gives the names."""
    gone = []
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                gone.append(path.name)
        except (BlockingIOError, FileNotFoundError):
            # Somebody's, or just gone.
            continue
    return gone


def write(directory: pathlib.Path, wanted: image.Image, parts: Generator[bytes], stop: threading.Event) -> IO[bytes]:
    """Give an open file with the image's bytes, which `remove` takes. Leaves nothing when it fails.

    :raises ImageCorrupt: they are not those of the checksum.
    :raises ImageRefused: no host should read them.
    :raises ImagesUnavailable: the directory cannot be written.
    :raises Stopped: `stop` was set meanwhile.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        sweep(directory)
        file = _open(directory, wanted)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        with contextlib.closing(parts):
            _fill(file, wanted, parts, stop)
    except OSError as error:
        remove(file)
        raise _unwritable(directory, error) from error
    except BaseException:
        remove(file)
        raise
    return file


def remove(file: IO[bytes]) -> None:
    """Delete a file that `write` gave. Safe to call twice."""
    pathlib.Path(file.name).unlink(missing_ok=True)
    file.close()


def _open(directory: pathlib.Path, wanted: image.Image) -> IO[bytes]:
    while True:
        file = tempfile.NamedTemporaryFile(dir=directory, prefix=f"{wanted.id}-", suffix=_SUFFIX, delete=False)  # noqa: SIM115 - kept open
        fcntl.flock(file, fcntl.LOCK_EX)
        # A sweep may have come between the two.
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _fill(file: IO[bytes], wanted: image.Image, parts: Generator[bytes], stop: threading.Event) -> None:
    digest, size = hashlib.new(wanted.checksum_algorithm, usedforsecurity=False), 0
    for part in parts:
        if stop.is_set():
            raise Stopped
        size += len(part)
        if size > wanted.size_bytes:
            raise errors.ImageCorrupt(image=wanted.id, detail=f"it is longer than the {wanted.size_bytes} bytes that were promised")
        digest.update(part)
        file.write(part)
    file.flush()
    if size != wanted.size_bytes or digest.hexdigest() != wanted.checksum:
        detail = f"{size} bytes came with the {wanted.checksum_algorithm} {digest.hexdigest()}; promised were {wanted.size_bytes} with "
        raise errors.ImageCorrupt(image=wanted.id, detail=detail + wanted.checksum)
    file.seek(0)
    inspection.require_harmless(wanted.id, wanted.disk_format, file.read(inspection.HEAD_BYTES))


def _unwritable(directory: pathlib.Path, error: OSError) -> errors.ImagesUnavailable:
    return errors.ImagesUnavailable(where=str(directory), detail=f"an image cannot be kept there on its way: {error}")
