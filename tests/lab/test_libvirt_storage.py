# SPDX-License-Identifier: Apache-2.0
"""What real libvirt makes of files whose first bytes their guests wrote: a raw disk is raw, whatever it says of itself."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import libvirt
import pytest

from tests.lab import cold
from wherry import errors
from wherry.drivers.libvirt import image_use, storage
from wherry.testing import lab as labs

pytestmark = pytest.mark.lab

_FOLDER = "/var/lib/libvirt/images"


@pytest.fixture
def connection(lab: labs.Lab) -> Iterator[libvirt.virConnect]:
    opened = libvirt.open(lab.host("h1").uri)
    yield opened
    opened.close()


@pytest.fixture
def forged(lab: labs.Lab) -> Iterator[pathlib.Path]:
    """A raw disk of 8 MiB on h1 whose guest wrote the header of an image there, based on a file of its host."""
    path = lab.host("h1").private_images / "forged.raw"
    cold.forge(path, "/etc/passwd", 8 << 20)
    yield path
    path.unlink(missing_ok=True)


def test_of_a_raw_disk_nothing_is_believed(lab: labs.Lab, connection: libvirt.virConnect, forged: pathlib.Path) -> None:
    """Its size is its length, and it stands alone; that libvirt takes it for something else is shown first."""
    host = lab.host("h1")
    host.virsh("pool-create-as", "seen", "dir", "--target", _FOLDER)
    assert "/etc/passwd" in host.virsh("vol-dumpxml", "--pool", "seen", "forged.raw")
    host.virsh("pool-destroy", "seen")
    files = storage.Storage("h1", 4.0)
    seen = files.image(connection, f"{_FOLDER}/forged.raw", "raw")
    assert seen is not None
    assert (seen.format, seen.capacity_bytes, seen.length_bytes, seen.backing) == ("raw", 8 << 20, 8 << 20, "")
    assert files.chain(connection, seen) == []
    assert files.capacity(connection, f"{_FOLDER}/forged.raw", "raw") == 8 << 20


def test_a_raw_disk_grows_as_one(connection: libvirt.virConnect, forged: pathlib.Path) -> None:
    """Nothing in it changes but its length; it never shrinks."""
    before = forged.read_bytes()
    files = storage.Storage("h1", 4.0)
    files.grow(connection, f"{_FOLDER}/forged.raw", "raw", 12 << 20)
    assert forged.read_bytes() == before + bytes(4 << 20)
    files.grow(connection, f"{_FOLDER}/forged.raw", "raw", 10 << 20)
    assert forged.stat().st_size == 12 << 20


def test_a_disk_of_another_format_than_its_definitions_does_not_grow_and_is_not_flattened(
    connection: libvirt.virConnect, forged: pathlib.Path
) -> None:
    forged.write_bytes(bytes(1 << 20))
    files = storage.Storage("h1", 4.0)
    with pytest.raises(errors.HypervisorFailure, match=r"raw.*qcow2"):
        files.grow(connection, f"{_FOLDER}/forged.raw", "qcow2", 2 << 20)
    with pytest.raises(errors.HypervisorFailure, match=r"raw.*qcow2"):
        files.flatten(connection, f"{_FOLDER}/forged.raw", f"{_FOLDER}/flat.qcow2", "qcow2")
    assert forged.read_bytes() == bytes(1 << 20)


def test_the_look_for_images_in_use_follows_no_guest(connection: libvirt.virConnect, forged: pathlib.Path) -> None:
    """What its header names counts as used, in case it is an image, but no pool is made where the guest would have one."""
    files = _Noting("h1", 4.0)
    assert "/etc/passwd" in image_use.paths_in_use(connection, files, _FOLDER)
    assert files.directories == {_FOLDER}


class _Noting(storage.Storage):
    """Tells which directories were looked at."""

    def __init__(self, host: str, lock_timeout_seconds: float) -> None:
        super().__init__(host, lock_timeout_seconds)
        self.directories: set[str] = set()

    @contextlib.contextmanager
    def pool(self, connection: libvirt.virConnect, directory: str) -> Iterator[libvirt.virStoragePool]:
        self.directories.add(directory)
        with super().pool(connection, directory) as found:
            yield found


def test_a_pool_that_a_killed_process_left_goes_with_its_next_use(lab: labs.Lab, connection: libvirt.virConnect) -> None:
    """While it is there, libvirt refuses anybody else a pool of that directory."""
    host, directory = lab.host("h1"), str(lab.host("h1").private_images)
    with storage.Storage("h1", 5.0).pool(connection, directory) as pool:
        name, definition = pool.name(), pool.XMLDesc(0)
    left = connection.storagePoolCreateXML(definition, 0)
    assert left.name() == name
    with storage.Storage("h1", 5.0).pool(connection, directory):
        assert host.virsh("pool-list", "--all", "--name").split() == [name]
    assert host.virsh("pool-list", "--all", "--name").split() == []
