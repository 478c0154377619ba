# SPDX-License-Identifier: Apache-2.0
"""The images of one host, brought there once through libvirt's storage API, and what goes when there are too many.

An image is whole when its marker is there: a file that a dead process left half is brought again.
"""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
from typing import TYPE_CHECKING

import libvirt

from wherry import errors
from wherry.drivers.libvirt import connection, storage, xml_reading
from wherry.model import image
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)

_CHUNK_BYTES = 1 << 18
_MARK = ".whole"
_GIB = 1 << 30


class ImageCache:
    """The cache of one host. Bringing images takes turns, so that each is brought once."""

    def __init__(self, link: connection.Link, files: storage.Storage, section: libvirt_config.LibvirtSection) -> None:
        self._link = link
        self._files = files
        self._section = section
        self._turn = asyncio.Lock()
        #: Names in use by guests that are being made, which no definition names yet.
        self.in_use: dict[str, int] = {}

    def path_of(self, wanted: image.Image) -> str:
        """Give where an image is on the host."""
        return f"{self._section.image_cache_directory}/{_name_of(wanted)}"

    async def bring(self, wanted: image.Image, path: str) -> None:
        """Have the image on the host.

        :param path: the file with its bytes, on this machine.
        :raises ImageCorrupt: when the bytes are not those of the checksum.
        """
        directory, name = self._section.image_cache_directory, _name_of(wanted)
        async with self._turn:
            names = await self._link.call("look for an image", self._files.names, directory)
            if {name, name + _MARK} <= names:
                return
            for missing in await self._link.call("look for a directory", self._files.missing_directories, directory):
                await self._link.call("create a directory", self._files.create_directory, missing)
            await self._link.call("make room for an image", self._make_room, wanted)
            seconds = self._section.image_upload_timeout_seconds
            await self._link.call_within(seconds, "bring an image", lambda handle: self._upload(handle, wanted, path))
            _log.info("An image was brought to a host", host=self._link.host, image=wanted.id, bytes=wanted.size_bytes)

    def _upload(self, handle: libvirt.virConnect, wanted: image.Image, path: str) -> None:
        name = _name_of(wanted)
        with self._files.pool(handle, self._section.image_cache_directory) as pool:
            for leftover in (name, name + _MARK):
                _delete(pool, leftover)
            volume = pool.createXML(storage.volume_xml(name, wanted.size_bytes, "raw"), 0)
            digest = _send(handle, volume, path, wanted.size_bytes)
            if digest != wanted.checksum:
                volume.delete(0)
                detail = f"the file {path} has the SHA-256 {digest}, promised was {wanted.checksum}"
                raise errors.ImageCorrupt(image=wanted.id, detail=detail)
            pool.createXML(storage.volume_xml(name + _MARK, 0, "raw"), 0)

    def _make_room(self, handle: libvirt.virConnect, wanted: image.Image) -> None:
        limit = self._section.image_cache_limit_gib * _GIB
        if not limit:
            return
        used = storage.used_paths(handle)
        directory = self._section.image_cache_directory
        with self._files.pool(handle, directory) as pool:
            kept = {name: _age_and_size(pool.storageVolLookupByName(name)) for name in pool.listVolumes() if not name.endswith(_MARK)}
            total = sum(size for _, size in kept.values()) + wanted.size_bytes
            for name in sorted(kept, key=lambda one: kept[one]):
                if total <= limit:
                    return
                if f"{directory}/{name}" in used or self.in_use.get(name):
                    continue
                # The mark first: without it the file is no image.
                _delete(pool, name + _MARK)
                _delete(pool, name)
                total -= kept[name][1]
                _log.info("An image that no guest uses has gone", host=self._link.host, file=name)
        if total > limit:
            detail = f"{self._section.image_cache_limit_gib} GiB may be taken by images, and guests use those that are there"
            raise errors.HypervisorFailure(host=self._link.host, what="bring an image", detail=detail)


def _name_of(wanted: image.Image) -> str:
    # The checksum tells an image from another one that had its id before.
    return f"{wanted.id}-{wanted.checksum[:16]}.{wanted.disk_format}"


def _send(handle: libvirt.virConnect, volume: libvirt.virStorageVol, path: str, size_bytes: int) -> str:
    """Send a file's bytes and give their SHA-256."""
    digest = hashlib.sha256()
    stream = handle.newStream(0)
    try:
        volume.upload(stream, 0, size_bytes, 0)
        with pathlib.Path(path).open("rb") as reader:
            while chunk := reader.read(_CHUNK_BYTES):
                digest.update(chunk)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[stream.send(bytes(rest)) :]
        stream.finish()
    except BaseException:
        stream.abort()
        raise
    return digest.hexdigest()


def _delete(pool: libvirt.virStoragePool, name: str) -> None:
    volume = storage.find_volume(pool, name)
    if volume is not None:
        volume.delete(0)


def _age_and_size(volume: libvirt.virStorageVol) -> tuple[float, int]:
    root = xml_reading.parse(volume.XMLDesc(0))
    return float(root.findtext("target/timestamps/mtime", "0")), int(volume.info()[2])
