# SPDX-License-Identifier: Apache-2.0
"""Sends files from one libvirt host to another by libvirt's own volume streams. Runs in a thread; knows no guest.

Seen on libvirt 9.0: sparse streams keep holes as holes on both sides; a stream goes on when the pool in which it was opened is gone; a
target that is all holes and as long as the source ends up equal to it byte for byte.
"""

from __future__ import annotations

import dataclasses
import posixpath
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import libvirt

from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.drivers.libvirt import storage

T = TypeVar("T")
#: The most that one message of libvirt's protocol carries: more in one call is cut by libvirt itself.
_CHUNK_BYTES = 262_120
#: How often progress is told, in seconds.
_TELL_SECONDS = 0.5
#: Pools that another client made for the same directory come and go; how often, and after how long, it is tried again.
_TRIES, _PAUSE_SECONDS = 20, 0.1
#: Never set: waited on for the pause.
_never = threading.Event()
#: What libvirt answers to a read at a hole.
_AT_HOLE = -3


class Stopped(Exception):
    """Nobody wants it any more; the target is half written."""


@dataclasses.dataclass(kw_only=True)
class Errand:
    """One move of several files, as its thread sees it."""

    source: libvirt.virConnect
    target: libvirt.virConnect
    source_files: storage.Storage
    target_files: storage.Storage
    stop: threading.Event
    #: Told the bytes done so far, holes included.
    tell: Callable[[int], None]
    done_bytes: int = 0
    told_at: float = 0.0

    def send(self, path: str, target_path: str, length_bytes: int) -> None:
        """Replace the target by a file that is equal to the source.

        :raises Stopped: when it was told to stop.
        """
        patiently(lambda: self.target_files.delete(self.target, target_path))
        patiently(lambda: self.target_files.create_blank(self.target, target_path, length_bytes))
        reading, writing = self.source.newStream(0), self.target.newStream(0)
        try:
            with_volume(self.source_files, self.source, path, lambda volume: _download(volume, reading))
            with_volume(self.target_files, self.target, target_path, lambda volume: _upload(volume, writing))
            for part in _parts(reading):
                if self.stop.is_set():
                    raise Stopped
                self._note(_write(writing, part))
            reading.finish()
            writing.finish()
        except BaseException:
            _abort(reading)
            _abort(writing)
            raise

    def _note(self, count: int) -> None:
        self.done_bytes += count
        now = time.monotonic()
        if now - self.told_at >= _TELL_SECONDS:
            self.told_at = now
            self.tell(self.done_bytes)


def patiently(act: Callable[[], T]) -> T:
    """Do something in a pool, again while another client's transient pool of the directory comes or goes."""
    for left in reversed(range(_TRIES)):
        try:
            return act()
        except libvirt.libvirtError as problem:
            if not left or libvirt_errors.code(problem) not in _PASSING:
                raise
            _never.wait(_PAUSE_SECONDS)
    raise AssertionError("unreachable")


_PASSING = frozenset({libvirt.VIR_ERR_NO_STORAGE_POOL, libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_OPERATION_INVALID})


def with_volume(files: storage.Storage, connection: libvirt.virConnect, path: str, act: Callable[[libvirt.virStorageVol], None]) -> None:
    """Do something to a file's volume, patiently.

    :raises DirectoryMissing: when there is no such file.
    """

    def once() -> None:
        with files.pool(connection, posixpath.dirname(path)) as pool:
            act(pool.storageVolLookupByName(posixpath.basename(path)))

    patiently(once)


def _download(volume: libvirt.virStorageVol, stream: libvirt.virStream) -> None:
    volume.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)


def _upload(volume: libvirt.virStorageVol, stream: libvirt.virStream) -> None:
    volume.upload(stream, 0, 0, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)


def _parts(stream: libvirt.virStream) -> Iterator[bytes | int]:
    """Give what a stream holds: data, or the length of a hole."""
    while True:
        part = stream.recvFlags(_CHUNK_BYTES, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE)
        if isinstance(part, bytes):
            if not part:
                return
            yield part
        elif part == _AT_HOLE:
            yield stream.recvHole()


def _write(stream: libvirt.virStream, part: bytes | int) -> int:
    if isinstance(part, int):
        stream.sendHole(part)
        return part
    sent = 0
    while sent < len(part):
        sent += stream.send(part[sent:])
    return len(part)


def _abort(stream: libvirt.virStream) -> None:
    try:
        stream.abort()
    except libvirt.libvirtError:
        # It was over already, or its connection is.
        return
