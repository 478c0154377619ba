# SPDX-License-Identifier: Apache-2.0
"""A directory of images: what is added is listed and readable, whoever else writes at the same time."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import pathlib
import stat
import struct
import threading

import pytest

from wherry import errors
from wherry.images import directory


@pytest.fixture
def images(tmp_path: pathlib.Path) -> directory.ImageDirectory:
    return directory.ImageDirectory(str(tmp_path / "images"))


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "source.raw"
    file.write_bytes(b"bootable" * 1024)
    file.chmod(0o600)
    return file


def _content(file: pathlib.Path) -> bytes:
    return file.read_bytes()


def _write(file: pathlib.Path, content: bytes) -> None:
    file.write_bytes(content)


def _mode(file: pathlib.Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


async def test_what_is_added_is_listed_with_its_checksum_and_may_be_read_by_an_agent(
    images: directory.ImageDirectory, source: pathlib.Path
) -> None:
    made = images.add(source, name="boot", min_ram_mib=64, properties={"os": "none"})
    assert await images.list() == [made]
    assert await images.get(made.id) == made
    assert (made.size_bytes, made.virtual_bytes, made.disk_format) == (8192, 8192, "raw")
    assert made.checksum == hashlib.sha256(_content(source)).hexdigest()
    async with images.fetch(made) as path:
        assert _content(pathlib.Path(path)) == _content(source)
        # Root's own file is root's alone; the agent need not be root.
        assert _mode(pathlib.Path(path)) == 0o644


async def test_none_is_lost_when_many_are_added_and_removed_at_once(images: directory.ImageDirectory, source: pathlib.Path) -> None:
    gone = [images.add(source, name="gone").id for _ in range(4)]
    together = threading.Barrier(8)

    def add(number: int) -> str:
        together.wait(10)
        return images.add(source, name=f"image-{number}").id

    def remove(image_id: str) -> None:
        together.wait(10)
        images.remove(image_id)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        added = [pool.submit(add, number) for number in range(4)]
        for done in [pool.submit(remove, image_id) for image_id in gone]:
            done.result()
        kept = {one.result() for one in added}
    assert {one.id for one in await images.list()} == kept


@pytest.mark.parametrize("is_there", [True, False])
async def test_an_unknown_image_is_said_to_be_unknown(images: directory.ImageDirectory, source: pathlib.Path, is_there: bool) -> None:
    if is_there:
        images.add(source, name="boot")
    with pytest.raises(errors.ImageNotFound):
        images.remove("nothing")
    with pytest.raises(errors.ImageNotFound):
        await images.get("nothing")


async def test_an_image_that_is_removed_is_gone_with_its_file(images: directory.ImageDirectory, source: pathlib.Path) -> None:
    made = images.add(source, name="boot")
    images.remove(made.id)
    assert await images.list() == []
    assert not images.path_of(made.id).exists()


async def test_an_index_that_cannot_be_read_says_where_it_is(images: directory.ImageDirectory, source: pathlib.Path) -> None:
    made = images.add(source, name="boot")
    index = images.path_of(made.id).parent / directory.INDEX
    index.write_text("{")
    with pytest.raises(errors.ImagesUnavailable, match=r"index\.json"):
        await images.list()


@pytest.mark.parametrize("begin", [b"KDMV", b"QED\0", b"QFI\xfb", b"OOOM"], ids=["vmdk", "qed", "cut-off-qcow2", "cow"])
async def test_a_file_that_is_neither_raw_nor_qcow2_is_not_added(
    images: directory.ImageDirectory, source: pathlib.Path, begin: bytes
) -> None:
    _write(source, begin)
    with pytest.raises(errors.ImageRefused, match="qemu-img convert"):
        images.add(source, name="other")
    assert await images.list() == []


@pytest.mark.parametrize(("disk_format", "why"), [("qcow2", "based on another image"), ("raw", "looks like qcow2")])
async def test_a_file_that_was_exchanged_for_one_that_names_others_is_not_given(
    images: directory.ImageDirectory, source: pathlib.Path, disk_format: str, why: str
) -> None:
    made = images.add(source, name="boot")
    _write(images.path_of(made.id), struct.pack(">IIQIIQ", 0x514649FB, 3, 112, 11, 16, 1 << 30) + bytes(80) + b"/etc/shadow")
    with pytest.raises(errors.ImageRefused, match=why):
        async with images.fetch(dataclasses.replace(made, disk_format=disk_format)):
            pass
