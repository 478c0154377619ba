# SPDX-License-Identifier: Apache-2.0
"""The images of one host, brought there once through libvirt's storage API, and what goes when there are too many.

An image is whole when its marker is there: a file that a dead process left half is brought again. A second one is as old as its last use.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import pathlib
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import libvirt

from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import connection, image_use, storage, xml_reading
from wherry.model import image
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)

_CHUNK_BYTES = 1 << 18
_MARK = ".whole"
_USED = ".used"
_GIB = 1 << 30


class _GivenUp(Exception):
    """Nobody waits for it any more, and another one may be at it."""


class ImageCache:
    """The cache of one host. Whoever wants an image that another is bringing waits for it, so that each is brought once."""

    def __init__(self, link: connection.Link, files: storage.Storage, section: libvirt_config.LibvirtSection) -> None:
        self._link = link
        self._files = files
        self._section = section
        #: Of the images on their way, by name.
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        #: Room is made by one at a time.
        self._room = asyncio.Lock()
        #: Sizes of those for which room was made and which are on their way, by name.
        self._coming: dict[str, int] = {}
        #: Each takes a control connection; the other half is for all else.
        self._sending = asyncio.Semaphore(max(1, section.max_control_connections // 2))
        #: Names in use by guests that are being made, which no definition names yet.
        self.in_use: dict[str, int] = {}

    def path_of(self, wanted: image.Image) -> str:
        """Give where an image is on the host."""
        return f"{self._section.image_cache_directory}/{_name_of(wanted)}"

    async def bring(self, wanted: image.Image, fetch: base.FetchImage) -> None:
        """Have the image on the host. The caller has named it in `in_use`.

        :param fetch: gives the file with its bytes, on this machine; not asked where the host has the image.
        :raises ImageCorrupt: when the bytes are not those of the checksum.
        """
        directory, name = self._section.image_cache_directory, _name_of(wanted)
        turn = self._turns.setdefault(name, asyncio.Lock())
        async with turn:
            names = await self._link.call("look for an image", self._files.names, directory)
            if {name, name + _MARK} <= names:
                await self._link.call("note the use of an image", self._mark_used, name)
                return
            for missing in await self._link.call("look for a directory", self._files.missing_directories, directory):
                await self._link.call("create a directory", self._files.create_directory, missing)
            async with fetch() as path, self._sending:
                async with self._room:
                    await self._link.call("make room for an image", self._make_room, wanted, dict(self._coming))
                    self._coming[name] = wanted.size_bytes
                given_up = threading.Event()
                try:
                    seconds = self._section.image_upload_timeout_seconds
                    await self._link.call_within(seconds, "bring an image", lambda handle: self._upload(handle, wanted, path, given_up))
                finally:
                    # A thread that goes on after its time must not touch what the next try makes.
                    given_up.set()
                    del self._coming[name]
            _log.info("An image was brought to a host", host=self._link.host, image=wanted.id, bytes=wanted.size_bytes)

    def _mark_used(self, handle: libvirt.virConnect, name: str) -> None:
        # libvirt has no call that only changes a file's time.
        with self._files.pool(handle, self._section.image_cache_directory) as pool:
            _delete(pool, name + _USED)
            pool.createXML(storage.volume_xml(name + _USED, 0, "raw"), 0)

    def _upload(self, handle: libvirt.virConnect, wanted: image.Image, path: str, given_up: threading.Event) -> None:
        name, digest = _name_of(wanted), ""
        try:
            # The stream goes on when the pool in which it was opened is gone: others need the pool meanwhile.
            with _sending_to(self._opened(handle, wanted)) as stream:
                digest = _send(stream, path, wanted, given_up)
        finally:
            with self._files.pool(handle, self._section.image_cache_directory) as pool:
                if given_up.is_set():
                    raise _GivenUp
                if digest == wanted.checksum:
                    pool.createXML(storage.volume_xml(name + _MARK, 0, "raw"), 0)
                else:
                    # The disk is full, as a rule: what was written must not keep it so.
                    _delete(pool, name)
        if digest != wanted.checksum:
            kind = _ALGORITHM_NAMES.get(wanted.checksum_algorithm, wanted.checksum_algorithm)
            detail = f"the file {path} has the {kind} {digest}, promised was {wanted.checksum}"
            raise errors.ImageCorrupt(image=wanted.id, detail=detail)

    def _opened(self, handle: libvirt.virConnect, wanted: image.Image) -> libvirt.virStream:
        """Make the file anew and give a stream into it."""
        name, stream = _name_of(wanted), handle.newStream(0)
        with self._files.pool(handle, self._section.image_cache_directory) as pool:
            for leftover in (name + _MARK, name + _USED, name):
                _delete(pool, leftover)
            pool.createXML(storage.volume_xml(name, wanted.size_bytes, "raw"), 0).upload(stream, 0, wanted.size_bytes, 0)
        return stream

    def _make_room(self, handle: libvirt.virConnect, wanted: image.Image, coming: Mapping[str, int]) -> None:
        limit = self._section.image_cache_limit_gib * _GIB
        directory = self._section.image_cache_directory
        if not limit:
            return
        with self._files.pool(handle, directory) as pool:
            kept = _kept(pool)
        total = sum(size for name, (_, size) in kept.items() if name not in coming) + sum(coming.values()) + wanted.size_bytes
        if total <= limit:
            return
        used = image_use.paths_in_use(handle, self._files, self._section.guest_directory)
        with self._files.pool(handle, directory) as pool:
            for name in sorted(kept, key=lambda one: kept[one]):
                if total <= limit:
                    return
                if f"{directory}/{name}" in used or self.in_use.get(name):
                    continue
                # The mark first: without it the file is no image.
                for file in (name + _MARK, name + _USED, name):
                    _delete(pool, file)
                total -= kept[name][1]
                _log.info("An image that no guest uses has gone", host=self._link.host, file=name)
        if total > limit:
            detail = f"{self._section.image_cache_limit_gib:g} GiB may be taken by images, and guests use those that are there"
            raise errors.HypervisorFailure(host=self._link.host, what="bring an image", detail=detail)


_ALGORITHM_NAMES = {"sha256": "SHA-256", "sha512": "SHA-512", "md5": "MD5"}


def _name_of(wanted: image.Image) -> str:
    # The checksum tells an image from another one that had its id before.
    return f"{wanted.id}-{wanted.checksum[:16]}.{wanted.disk_format}"


def _kept(pool: libvirt.virStoragePool) -> dict[str, tuple[float, int]]:
    """Give each image, when it was used last, and what it takes."""
    names = set(pool.listVolumes())
    found = {}
    for name in names:
        if name.endswith((_MARK, _USED)):
            continue
        age, size = _age_and_size(pool.storageVolLookupByName(name))
        if name + _USED in names:
            age = max(age, _age_and_size(pool.storageVolLookupByName(name + _USED))[0])
        found[name] = (age, size)
    return found


@contextlib.contextmanager
def _sending_to(stream: libvirt.virStream) -> Iterator[libvirt.virStream]:
    try:
        yield stream
        stream.finish()
    except BaseException:
        stream.abort()
        raise


def _send(stream: libvirt.virStream, path: str, wanted: image.Image, given_up: threading.Event) -> str:
    """Send a file's bytes and give their hash."""
    digest = hashlib.new(wanted.checksum_algorithm, usedforsecurity=False)
    with pathlib.Path(path).open("rb") as reader:
        while chunk := reader.read(_CHUNK_BYTES):
            if given_up.is_set():
                raise _GivenUp
            digest.update(chunk)
            rest = memoryview(chunk)
            while rest:
                rest = rest[stream.send(bytes(rest)) :]
    return digest.hexdigest()


def _delete(pool: libvirt.virStoragePool, name: str) -> None:
    volume = storage.find_volume(pool, name)
    if volume is not None:
        volume.delete(0)


def _age_and_size(volume: libvirt.virStorageVol) -> tuple[float, int]:
    root = xml_reading.parse(volume.XMLDesc(0))
    return float(root.findtext("target/timestamps/mtime", "0")), int(volume.info()[2])
