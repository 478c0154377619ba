# SPDX-License-Identifier: Apache-2.0
"""Images of an image service: listed as who asks sees them, fetched once however many wait, and never half, wrong or dangerous ones."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.functional.images import image_stub
from wherry import config, errors
from wherry.images import directory, downloads, glance, service

_MIB = 1 << 20
_CONTENT = os.urandom(2 * _MIB + 5)


@pytest.fixture
def stub() -> Iterator[image_stub.Service]:
    with image_stub.running() as made:
        yield made


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "downloads"


def _opened(stub: image_stub.Service, folder: pathlib.Path, **options: Any) -> service.ImageService:
    section = dataclasses.replace(
        config.ImagesSection(source="glance", download_directory=str(folder), glance_request_timeout_seconds=2.0), **options
    )
    return service.ImageService(glance.Glance(stub.keystone(), section), section)


@pytest.fixture
async def images(stub: image_stub.Service, folder: pathlib.Path) -> AsyncIterator[service.ImageService]:
    yield _opened(stub, folder)


def _left(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _read(path: str) -> bytes:
    return pathlib.Path(path).read_bytes()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def _qcow2(*, backing_at: int = 0, features: int = 0, version: int = 3) -> bytes:
    head = struct.pack(">IIQIIQ", 0x514649FB, version, backing_at, 11, 16, 1 << 30)
    return head + bytes(72 - len(head)) + struct.pack(">Q", features) + b"/etc/shadow" + bytes(1000)


async def test_what_can_be_used_is_listed_page_by_page(stub: image_stub.Service, images: service.ImageService) -> None:
    stub.page = 2
    wanted = [stub.add(_CONTENT, name=f"image {number}") for number in range(5)]
    for unusable in ({"status": "queued"}, {"disk_format": "vmdk"}, {"container_format": "ova"}, {"os_hash_value": None, "checksum": None}):
        stub.add(b"x", **unusable)
    found = await images.list()
    assert [one.id for one in found] == wanted
    first = found[0]
    assert (first.name, first.size_bytes, first.disk_format, first.min_ram_mib) == ("image 0", len(_CONTENT), "raw", 64)
    assert (first.checksum_algorithm, first.properties) == ("sha512", {"os_distro": "debian"})


async def test_who_asks_sees_what_is_his(stub: image_stub.Service, images: service.ImageService) -> None:
    private = stub.add(_CONTENT, visibility="private")
    stub.seeing.add("owner's")
    assert (await images.get(private, "owner's")).id == private
    assert (await images.get(private)).id == private, "without a token it is the service that asks"
    with pytest.raises(errors.ImageNotFound):
        await images.get(private, "stranger's")
    assert await images.list("stranger's") == []
    assert {token for path, token in stub.asked if path.startswith("/v2/images")} == {"owner's", "ours", "stranger's"}


@pytest.mark.parametrize("named", ["none", "../images", "a/file", "x" * 65, "", "\n"])
async def test_what_is_not_there_is_not_found(images: service.ImageService, named: str) -> None:
    with pytest.raises(errors.ImageNotFound):
        await images.get(named)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"status": "queued"}, "it is queued, not active"),
        ({"disk_format": "vmdk"}, "it is vmdk in bare; qcow2 or raw in bare can be"),
        ({"os_hash_value": None, "checksum": None}, "has no checksum"),
    ],
)
async def test_what_cannot_be_used_says_why(
    stub: image_stub.Service, images: service.ImageService, fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(errors.ImageRefused, match=why):
        await images.get(stub.add(b"x", **fields))


@pytest.mark.parametrize("fields", [{}, {"os_hash_algo": None, "os_hash_value": None}, {"os_hash_algo": "unknown"}])
async def test_many_share_one_download_and_the_last_takes_it_away(
    stub: image_stub.Service, images: service.ImageService, folder: pathlib.Path, fields: dict[str, Any]
) -> None:
    """Also where only the old MD5 is known, or one of another kind."""
    wanted = await images.get(stub.add(_CONTENT, **fields))
    assert wanted.checksum_algorithm == ("md5" if fields else "sha512")
    reading, may_go = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        async with images.fetch(wanted) as path:
            assert _read(path) == _CONTENT
            reading.set()
            await may_go.wait()

    users = [asyncio.create_task(use()) for _ in range(4)]
    await reading.wait()
    assert len(_left(folder)) == 1
    may_go.set()
    await asyncio.gather(*users)
    assert (stub.downloads(), _left(folder)) == (1, [])


@pytest.mark.parametrize(
    ("content", "why"),
    [(_CONTENT[:-1] + b"?", "promised were"), (_CONTENT + b"?", "longer than"), (_CONTENT[:-1], "promised were"), (b"", "promised were")],
    ids=["other", "longer", "shorter", "empty"],
)
async def test_other_bytes_than_promised_are_kept_nowhere(
    stub: image_stub.Service, images: service.ImageService, folder: pathlib.Path, content: bytes, why: str
) -> None:
    wanted = await images.get(stub.add(_CONTENT))
    stub.contents[wanted.id] = content
    with pytest.raises(errors.ImageCorrupt, match=why):
        async with images.fetch(wanted):
            pass
    assert _left(folder) == []
    # What was wrong once may be right the next time.
    stub.contents[wanted.id] = _CONTENT
    async with images.fetch(wanted) as path:
        assert hashlib.sha512(_read(path)).hexdigest() == wanted.checksum


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (_qcow2(backing_at=80), "based on another image"),
        (_qcow2(backing_at=80, version=2), "based on another image"),
        (_qcow2(features=4), "its data is in another file"),
        (_qcow2(version=9), "version 9"),
        (_qcow2()[:76], "cut off"),
        (b"KDMV" + bytes(100), "is not"),
    ],
)
async def test_an_image_that_names_files_of_the_host_is_refused(
    stub: image_stub.Service, images: service.ImageService, tmp_path: pathlib.Path, content: bytes, why: str
) -> None:
    wanted = await images.get(stub.add(content, disk_format="qcow2"))
    with pytest.raises(errors.ImageRefused, match=why):
        async with images.fetch(wanted):
            pass
    assert _left(tmp_path / "downloads") == []
    if content.startswith(b"QFI"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(errors.ImageRefused, match=why):
            directory.ImageDirectory(str(tmp_path / "images")).add(tmp_path / "file", name="x")


@pytest.mark.parametrize(
    "content", [_qcow2(), _qcow2()[:8], b"KDMV" + bytes(100), b"QED\0" + bytes(100)], ids=["qcow2", "short", "vmdk", "qed"]
)
async def test_what_is_said_to_be_raw_and_looks_otherwise_is_refused(
    stub: image_stub.Service, images: service.ImageService, tmp_path: pathlib.Path, content: bytes
) -> None:
    """A storage pool would look for what is named below it, whatever the image is said to be."""
    wanted = await images.get(stub.add(content, disk_format="raw"))
    with pytest.raises(errors.ImageRefused, match="is taken for raw and looks like"):
        async with images.fetch(wanted):
            pass
    assert _left(tmp_path / "downloads") == []


async def test_a_whole_qcow2_image_is_given_as_it_is(stub: image_stub.Service, images: service.ImageService) -> None:
    content = _qcow2()
    async with images.fetch(await images.get(stub.add(content, disk_format="qcow2"))) as path:
        assert _read(path) == content


@pytest.mark.parametrize(
    ("status", "why"),
    [(500, "500"), (503, "503"), (401, "see \\[keystone\\] username"), (403, "see \\[keystone\\] username")],
)
async def test_a_service_that_does_not_serve_is_told(
    stub: image_stub.Service, images: service.ImageService, folder: pathlib.Path, status: int, why: str
) -> None:
    wanted = await images.get(stub.add(_CONTENT))
    stub.status = status
    for asking in (images.get(wanted.id), images.list(), images.fetch(wanted).__aenter__()):
        with pytest.raises(errors.ImagesUnavailable, match=why):
            await asking
    assert _left(folder) == []


async def test_a_dead_service_is_told(stub: image_stub.Service, folder: pathlib.Path) -> None:
    with image_stub.running() as dead:
        images = _opened(dead, folder)
    with pytest.raises(errors.ImagesUnavailable, match="Unable to establish connection"):
        await images.list()


async def test_a_download_that_is_cut_off_leaves_nothing(
    stub: image_stub.Service, images: service.ImageService, folder: pathlib.Path
) -> None:
    wanted = await images.get(stub.add(_CONTENT))
    stub.cut_after = _MIB
    with pytest.raises((errors.ImagesUnavailable, errors.ImageCorrupt)):
        async with images.fetch(wanted):
            pass
    assert _left(folder) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [({"glance_request_timeout_seconds": 0.3}, "stopped in the middle"), ({"glance_download_timeout_seconds": 1.0}, "within 1 s")],
    ids=["silent", "slow"],
)
async def test_a_slow_service_is_not_waited_for(
    stub: image_stub.Service, folder: pathlib.Path, options: dict[str, float], why: str
) -> None:
    images = _opened(stub, folder, **options)
    wanted = await images.get(stub.add(_CONTENT))
    stub.may_end.clear()
    async with asyncio.timeout(10):
        with pytest.raises(errors.ImagesUnavailable, match=why):
            async with images.fetch(wanted):
                pass
    stub.may_end.set()
    await _until(lambda: _left(folder) == [])


async def test_nobody_waits_any_more(stub: image_stub.Service, images: service.ImageService, folder: pathlib.Path) -> None:
    """The first goes away and the other has it all the same; when all go away the download ends and leaves nothing."""
    wanted = await images.get(stub.add(_CONTENT))
    stub.may_end.clear()

    async def use() -> bytes:
        async with images.fetch(wanted) as path:
            return _read(path)

    first, second = asyncio.create_task(use()), asyncio.create_task(use())
    await _until(stub.is_waiting.is_set)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    stub.may_end.set()
    assert await second == _CONTENT
    stub.may_end.clear()
    stub.is_waiting.clear()
    third = asyncio.create_task(use())
    await _until(stub.is_waiting.is_set)
    third.cancel()
    stub.may_end.set()
    await _until(lambda: _left(folder) == [])


_KILLED = """
import pathlib, sys, threading, datetime
from wherry.images import downloads
from wherry.model import image
def parts():
    yield b"half"
    print("half", flush=True)
    threading.Event().wait()
wanted = image.Image(id="dead", name="", size_bytes=8, checksum="", disk_format="raw", created_at=datetime.datetime.now(datetime.UTC))
downloads.write(pathlib.Path(sys.argv[1]), wanted, parts(), threading.Event())
"""


async def test_what_a_killed_process_left_goes_and_what_another_reads_stays(
    stub: image_stub.Service, images: service.ImageService, folder: pathlib.Path
) -> None:
    def start() -> subprocess.Popen[bytes]:
        made = subprocess.Popen([sys.executable, "-c", _KILLED, str(folder)], stdout=subprocess.PIPE)
        assert made.stdout is not None
        assert made.stdout.readline() == b"half\n"
        return made

    living, dead = start(), start()
    try:
        before = _left(folder)
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert _left(folder) == before, "a kill cleans nothing up"
        async with images.fetch(await images.get(stub.add(_CONTENT))):
            assert len(_left(folder)) == 2
        assert len(_left(folder)) == 1
        assert downloads.sweep(folder) == []
    finally:
        for one in (living, dead):
            one.kill()
            one.communicate()
    assert len(downloads.sweep(folder)) == 1


async def test_a_directory_that_cannot_be_written_is_named(stub: image_stub.Service, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    images = _opened(stub, tmp_path / "file" / "downloads")
    wanted = await images.get(stub.add(_CONTENT))
    with pytest.raises(errors.ImagesUnavailable, match="downloads: an image cannot be kept there"):
        async with images.fetch(wanted):
            pass
