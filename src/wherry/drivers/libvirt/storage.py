# SPDX-License-Identifier: Apache-2.0
"""Files of a host through libvirt's storage API: looked for, created at full size, deleted.

Never touches the agent's own file system, and decides nothing: who may delete what is the caller's business.

Seen on libvirt 9.0: a directory's pool guesses by its first bytes what a file is and what is below it, and copies and resizes it as that.
In a raw disk a guest writes those bytes. So whoever asks what is in a disk says which format its guest's definition gives it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import posixpath
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from xml.sax.saxutils import escape

import libvirt

from wherry import errors
from wherry.drivers.libvirt import domain_xml, xml_reading
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest

#: Formats in which a disk can be created.
FORMATS = ("raw", "qcow2")
#: Pools that we make carry such names, so that one left by a crash is known for what it is.
POOL_PREFIX = "wherry-"
PROBE_PREFIX = ".wherry-probe-"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A file as the storage API describes it."""

    #: Size that a guest sees.
    capacity_bytes: int
    #: Space that it takes.
    allocation_bytes: int
    #: Length of the file.
    length_bytes: int
    format: str
    #: Path and format of the image below it; empty for none.
    backing: str
    backing_format: str = ""


class DirectoryMissing(Exception):
    """The host has no such directory."""


class Storage:
    """The directories of one host as storage pools, each used by one call at a time."""

    def __init__(self, host: str, lock_timeout_seconds: float) -> None:
        self._host = host
        self._lock_timeout_seconds = lock_timeout_seconds
        self._guard = threading.Lock()
        self._locks: collections.defaultdict[str, threading.Lock] = collections.defaultdict(threading.Lock)

    @contextlib.contextmanager
    def pool(self, connection: libvirt.virConnect, directory: str) -> Iterator[libvirt.virStoragePool]:
        """Give a freshly read pool of the directory: one that exists there, or a transient one that is gone afterwards.

        libvirt allows one pool a directory, hence the lock: a second check would find the first one's pool and lose it in mid-use.

        :raises DirectoryMissing: when the host has no such directory.
        """
        with self._guard:
            lock = self._locks[directory]
        if not lock.acquire(timeout=self._lock_timeout_seconds):
            raise libvirt_errors.unavailable(self._host, f"an earlier call still waits for the storage in {directory}")
        try:
            pool, must_stop = _activate(connection, directory)
            try:
                yield pool
            finally:
                if must_stop:
                    # Stopping a pool forgets it; it never touches a file.
                    pool.destroy()
        finally:
            lock.release()

    def probe(self, connection: libvirt.virConnect, directory: str, name: str) -> int:
        """Leave a probe in the directory, and give the free bytes there. One that is there already is fine."""
        with self.pool(connection, directory) as pool:
            try:
                pool.createXML(volume_xml(name, 0, "raw"), 0)
            except libvirt.libvirtError as problem:
                if libvirt_errors.code(problem) != libvirt.VIR_ERR_STORAGE_VOL_EXIST:
                    raise
            return int(pool.info()[3])

    def names(self, connection: libvirt.virConnect, directory: str) -> frozenset[str]:
        """Give the names of the files in a directory that are regular files or block devices; none where there is no such directory."""
        try:
            with self.pool(connection, directory) as pool:
                return frozenset(pool.listVolumes())
        except DirectoryMissing:
            return frozenset()

    def length(self, connection: libvirt.virConnect, path: str) -> int | None:
        """Give the length of a file, whatever is in it; None when there is none."""
        try:
            with self.pool(connection, posixpath.dirname(path)) as pool:
                volume = find_volume(pool, posixpath.basename(path))
                return _length_of(volume) if volume is not None else None
        except DirectoryMissing:
            return None

    def capacity(self, connection: libvirt.virConnect, path: str, disk_format: str) -> int | None:
        """Give the size that a guest would see in this file, which is of this format; None when there is none."""
        found = self.image(connection, path, disk_format)
        return found.capacity_bytes if found is not None else None

    def allocation(self, connection: libvirt.virConnect, path: str) -> int:
        """Give the space that a file takes, holes left out; 0 where there is none."""
        try:
            with self.pool(connection, posixpath.dirname(path)) as pool:
                volume = find_volume(pool, posixpath.basename(path))
                return int(volume.info()[2]) if volume is not None else 0
        except DirectoryMissing:
            return 0

    def image(self, connection: libvirt.virConnect, path: str, disk_format: str) -> Image | None:
        """Describe a file; None when there is none.

        :param disk_format: which it has for its guest. Of a raw one nothing that is in it is believed; what another one is, libvirt tells.
        """
        try:
            with self.pool(connection, posixpath.dirname(path)) as pool:
                volume = find_volume(pool, posixpath.basename(path))
                if volume is None:
                    return None
                _, capacity, allocation = volume.info()
                length = _length_of(volume)
                text = volume.XMLDesc()
        except DirectoryMissing:
            return None
        if disk_format == "raw":
            return Image(capacity_bytes=length, allocation_bytes=int(allocation), length_bytes=length, format="raw", backing="")
        root = xml_reading.parse(text)
        return Image(
            capacity_bytes=int(capacity),
            allocation_bytes=int(allocation),
            length_bytes=length,
            format=_format_in(root, "target"),
            backing=root.findtext("backingStore/path") or "",
            backing_format=_format_in(root, "backingStore"),
        )

    def named_below(self, connection: libvirt.virConnect, path: str) -> str:
        """Give what a file names as the image below it, by its own account; empty for nothing."""
        try:
            with self.pool(connection, posixpath.dirname(path)) as pool:
                volume = find_volume(pool, posixpath.basename(path))
                return "" if volume is None else xml_reading.parse(volume.XMLDesc()).findtext("backingStore/path") or ""
        except DirectoryMissing:
            return ""

    def chain(self, connection: libvirt.virConnect, image: Image) -> list[str]:
        """Give the paths of the images below one, the next first, as far as they are files here."""
        found: list[str] = []
        below, disk_format = image.backing, image.backing_format
        while below.startswith("/") and below not in found:
            found.append(below)
            seen = self.image(connection, below, disk_format)
            below, disk_format = (seen.backing, seen.backing_format) if seen is not None else ("", "")
        return found

    def create_blank(self, connection: libvirt.virConnect, path: str, length_bytes: int) -> None:
        """Create a file of this length that is all holes, to be written by a stream."""
        with self.pool(connection, posixpath.dirname(path)) as pool:
            pool.createXML(volume_xml(posixpath.basename(path), length_bytes, "raw"), 0)

    def flatten(self, connection: libvirt.virConnect, path: str, target: str, disk_format: str) -> None:
        """Write what a guest sees in an image of this format, and in all below it, into one new image beside it."""
        with self.pool(connection, posixpath.dirname(path)) as pool:
            volume = find_volume(pool, posixpath.basename(path))
            if volume is None:
                raise DirectoryMissing(path)
            self._check_format(volume, disk_format, "flatten a disk")
            pool.createXMLFrom(volume_xml(posixpath.basename(target), volume.info()[1], disk_format), volume, 0)

    def grow(self, connection: libvirt.virConnect, path: str, disk_format: str, capacity_bytes: int) -> None:
        """Make what a guest sees of an image of this format larger; one that is as large is left."""
        with self.pool(connection, posixpath.dirname(path)) as pool:
            volume = find_volume(pool, posixpath.basename(path))
            if volume is None:
                return
            if disk_format == "raw":
                _lengthen(connection, volume, capacity_bytes)
                return
            self._check_format(volume, disk_format, "make a disk larger")
            if volume.info()[1] < capacity_bytes:
                volume.resize(capacity_bytes, 0)

    def create(self, connection: libvirt.virConnect, disk: guest.Disk) -> None:
        """Create an empty disk of the guest's size: sparse, without an image below it."""
        with self.pool(connection, posixpath.dirname(disk.source)) as pool:
            pool.createXML(volume_xml(posixpath.basename(disk.source), disk.capacity_bytes, disk.format), 0)

    def create_overlay(self, connection: libvirt.virConnect, path: str, least_bytes: int, below: tuple[str, str]) -> None:
        """Create a qcow2 disk on an image: of the image's size, or larger.

        :param below: path and format of the image.
        """
        image_bytes = self.capacity(connection, *below) or 0
        with self.pool(connection, posixpath.dirname(path)) as pool:
            pool.createXML(volume_xml(posixpath.basename(path), max(least_bytes, image_bytes), "qcow2", below=below), 0)

    def read_end(self, connection: libvirt.virConnect, path: str, most_bytes: int) -> bytes:
        """Give the end of a file; nothing where there is none."""
        received: list[bytes] = []
        try:
            with self.pool(connection, posixpath.dirname(path)) as pool:
                volume = find_volume(pool, posixpath.basename(path))
                length = _length_of(volume) if volume is not None else 0
                if volume is None or not length:
                    return b""
                offset = max(0, length - most_bytes)
                stream = connection.newStream(0)
                try:
                    volume.download(stream, offset, length - offset, 0)
                    stream.recvAll(lambda _stream, data, _opaque: received.append(data), None)
                    stream.finish()
                except BaseException:
                    stream.abort()
                    raise
        except DirectoryMissing:
            return b""
        return b"".join(received)

    def delete(self, connection: libvirt.virConnect, path: str) -> bool:
        """Delete a file; False when it was gone."""
        try:
            with self.pool(connection, posixpath.dirname(path)) as pool:
                volume = find_volume(pool, posixpath.basename(path))
                if volume is None:
                    return False
                volume.delete(0)
                return True
        except DirectoryMissing:
            return False

    def missing_directories(self, connection: libvirt.virConnect, directory: str) -> list[str]:
        """Give this directory and those above it that do not exist, the uppermost first."""
        missing: list[str] = []
        while directory != "/":
            try:
                with self.pool(connection, directory):
                    break
            except DirectoryMissing:
                missing.insert(0, directory)
                directory = posixpath.dirname(directory)
        return missing

    def create_directory(self, connection: libvirt.virConnect, directory: str) -> None:
        """Create one directory, whose parent exists."""
        with _defined(connection, directory) as pool:
            pool.build(0)

    def delete_directory(self, connection: libvirt.virConnect, directory: str) -> None:
        """Remove an empty directory; one that is gone, or not empty, is left as it is."""
        with self._guard:
            lock = self._locks[directory]
        with lock, _defined(connection, directory) as pool, contextlib.suppress(libvirt.libvirtError):
            # rmdir: the daemon's own system call refuses a directory that is not empty.
            pool.delete(0)

    def _check_format(self, volume: libvirt.virStorageVol, disk_format: str, what: str) -> None:
        """Make sure that libvirt will take a volume for what its guest takes it for."""
        seen = _format_in(xml_reading.parse(volume.XMLDesc()), "target")
        if seen != disk_format or disk_format == "raw":
            detail = f"{volume.path()} looks like {seen} to libvirt, and its guest's definition says {disk_format}"
            raise errors.HypervisorFailure(host=self._host, what=what, detail=detail)


def probe_name(operation_id: str, host: str) -> str:
    """Name a probe so that no other migration and no other host makes the same: a leftover must not look like this host's own."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in host)
    return f"{PROBE_PREFIX}{operation_id}-{safe}"


def is_probe(name: str) -> bool:
    """Whether this is a name that `probe_name` makes."""
    return name.startswith(PROBE_PREFIX) and "/" not in name


def used_paths(connection: libvirt.virConnect) -> dict[str, str]:
    """Give each path that a domain of this host uses, with the domain's uuid."""
    return {path: uuid for uuid, text in _definitions(connection) for path in domain_xml.disk_paths(text)}


def used_formats(connection: libvirt.virConnect) -> dict[str, str]:
    """Give each path that a domain of this host uses, with the format that its definition says."""
    return {path: form for _, text in _definitions(connection) for path, form in domain_xml.disk_formats(text).items()}


def _definitions(connection: libvirt.virConnect) -> Iterator[tuple[str, str]]:
    for domain in connection.listAllDomains():
        try:
            yield domain.UUIDString(), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
        except libvirt.libvirtError as problem:
            if libvirt_errors.code(problem) != libvirt.VIR_ERR_NO_DOMAIN:
                raise


def _length_of(volume: libvirt.virStorageVol) -> int:
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _format_in(root: ET.Element, part: str) -> str:
    element = root.find(f"{part}/format")
    return element.get("type", "raw") if element is not None else "raw"


def _lengthen(connection: libvirt.virConnect, volume: libvirt.virStorageVol, length_bytes: int) -> None:
    """Give a raw disk that length, by its last byte: libvirt's own way would write into it as what it looks like."""
    if _length_of(volume) >= length_bytes:
        return
    stream = connection.newStream(0)
    try:
        volume.upload(stream, length_bytes - 1, 1, 0)
        stream.send(b"\0")
        stream.finish()
    except BaseException:
        stream.abort()
        raise


def _activate(connection: libvirt.virConnect, directory: str) -> tuple[libvirt.virStoragePool, bool]:
    """Give an active pool that was read just now, and whether it must be stopped again."""
    pool = _lookup(connection, directory)
    if pool is None:
        return _start(connection, directory), True
    try:
        # A pool does not see files that came since it was read last.
        pool.refresh(0)
    except libvirt.libvirtError as problem:
        # A volume is being written in it: what it saw last must do.
        if libvirt_errors.code(problem) != libvirt.VIR_ERR_INTERNAL_ERROR:
            raise
    # One of ours that is there already was left by a process that was killed: nobody else would ever stop it.
    return pool, pool.name().startswith(POOL_PREFIX)


def _start(connection: libvirt.virConnect, directory: str) -> libvirt.virStoragePool:
    name = POOL_PREFIX + hashlib.sha256(directory.encode()).hexdigest()[:16]
    try:
        return connection.storagePoolCreateXML(_pool_xml(name, directory), 0)
    except libvirt.libvirtError as problem:
        if libvirt_errors.is_missing_file(problem):
            raise DirectoryMissing(directory) from None
        # An inactive pool has the directory: the look-up by path finds only active ones (libvirt 9.0).
        for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE):
            if f"<path>{escape(directory)}</path>" in pool.XMLDesc(0):
                return _start_defined(pool, directory)
        raise


def _start_defined(pool: libvirt.virStoragePool, directory: str) -> libvirt.virStoragePool:
    try:
        pool.create(0)
    except libvirt.libvirtError as problem:
        if libvirt_errors.is_missing_file(problem):
            raise DirectoryMissing(directory) from None
        raise
    return pool


def _lookup(connection: libvirt.virConnect, directory: str) -> libvirt.virStoragePool | None:
    try:
        return connection.storagePoolLookupByTargetPath(directory)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_NO_STORAGE_POOL:
            return None
        raise


def find_volume(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """Give a volume of a pool; None when it has none of that name."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return None
        raise


@contextlib.contextmanager
def _defined(connection: libvirt.virConnect, directory: str) -> Iterator[libvirt.virStoragePool]:
    """Give an inactive pool of a directory, gone afterwards: only such a one builds and removes directories."""
    name = POOL_PREFIX + "dir-" + hashlib.sha256(directory.encode()).hexdigest()[:16]
    pool = connection.storagePoolDefineXML(_pool_xml(name, directory), 0)
    try:
        yield pool
    finally:
        pool.undefine()


def _pool_xml(name: str, directory: str) -> str:
    return f"<pool type='dir'><name>{name}</name><target><path>{escape(directory)}</path></target></pool>"


def volume_xml(name: str, capacity_bytes: int, volume_format: str, *, below: tuple[str, str] | None = None) -> str:
    """Give the definition of a sparse volume.

    :param below: path and format of the image below it; None = none.
    """
    backing = f"<backingStore><path>{escape(below[0])}</path><format type='{escape(below[1])}'/></backingStore>" if below else ""
    # Without this libvirt writes the qcow2 of QEMU 0.10.
    compat = "<compat>1.1</compat>" if volume_format == "qcow2" else ""
    return (
        f"<volume><name>{escape(name)}</name><capacity unit='bytes'>{capacity_bytes}</capacity><allocation unit='bytes'>0</allocation>"
        f"<target><format type='{escape(volume_format)}'/>{compat}</target>{backing}</volume>"
    )
