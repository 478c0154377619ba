# SPDX-License-Identifier: Apache-2.0
"""Images on their way to a real host: what is not what was promised stays away, and what a dead process left half is brought again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import hashlib
import os
import pathlib
import threading
import uuid
from collections.abc import AsyncIterator

import pytest

from tests.lab import libvirt_harness
from wherry import config, errors
from wherry.drivers import base, registry
from wherry.model import build, guest, image
from wherry.testing import lab as labs

pytestmark = [pytest.mark.lab]


@pytest.fixture
async def harness(lab: labs.Lab) -> AsyncIterator[libvirt_harness.LibvirtHarness]:
    async with libvirt_harness.opened(lab) as bound:
        yield bound


def _order(made: image.Image) -> tuple[build.GuestOrder, base.Task]:
    number = uuid.uuid4()
    order = build.GuestOrder(
        uuid=str(number),
        name=f"instance-{number.hex[:8]}",
        title="made",
        memory_mib=64,
        vcpus=1,
        root_gib=1,
        image=made,
        project_id="project",
        user_id="user",
        has_network=False,
    )

    async def record(name: str) -> None:
        del name

    return order, base.Task(operation_id=str(uuid.uuid4()), instance_uuid=order.uuid, record_created=record)


def _cached(host: labs.Host, made: image.Image) -> list[pathlib.Path]:
    found = (host.private_images / "wherry-base").glob(f"{made.id}-*")
    # Earlier tests may have used the image, too: when it was last used stands in a file of its own.
    return sorted(path for path in found if path.suffix != ".used")


def _spoil(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-5] + b"other")


def _are_alike(one: pathlib.Path, other: pathlib.Path) -> bool:
    return one.read_bytes() == other.read_bytes()


async def test_other_bytes_than_promised_make_no_guest(harness: libvirt_harness.LibvirtHarness) -> None:
    made, path = await harness.image()
    _spoil(pathlib.Path(path))
    # Under another id, so that no earlier test has brought it.
    order, task = _order(dataclasses.replace(made, id=str(uuid.uuid4())))
    with pytest.raises(errors.ImageCorrupt, match="SHA-256"):
        await harness.source_driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
    assert _cached(harness.hosts["h1"], order.image) == []
    assert (await harness.source_driver.observe_guest(order.uuid)).state is guest.GuestState.ABSENT


async def test_a_half_brought_image_is_brought_again(harness: libvirt_harness.LibvirtHarness) -> None:
    made, path = await harness.image()
    order, task = _order(made)
    await harness.source_driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
    await harness.source_driver.destroy_guest(task)
    kept, mark = _cached(harness.hosts["h1"], made)
    mark.unlink()
    kept.write_bytes(b"half")
    order, task = _order(made)
    await harness.source_driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
    assert _are_alike(kept, pathlib.Path(path))
    assert _cached(harness.hosts["h1"], made) == [kept, mark]
    await harness.source_driver.destroy_guest(task)


async def test_what_virtlogd_kept_of_a_console_is_read_and_goes_with_the_guest(harness: libvirt_harness.LibvirtHarness) -> None:
    """Files by its names, made by hand; what is named otherwise, or after another guest, stays."""
    made, path = await harness.image()
    order, task = _order(made)
    await harness.source_driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
    await harness.source_driver.power_off_guest(order.uuid)
    folder = harness.hosts["h1"].private_images
    console = f"{order.uuid}.console.log"
    theirs = [f"{console}.old", f"{console}.1.gz", f"{uuid.uuid4()}.console.log.0"]
    try:
        _write(folder, {console: "now\n", f"{console}.0": "before\n", f"{console}.1": "at first\n"} | dict.fromkeys(theirs, "theirs\n"))
        assert await harness.source_driver.read_console(order.uuid, 100) == "at first\nbefore\nnow\n"
        assert await harness.source_driver.read_console(order.uuid, 7) == "re\nnow\n"
        assert await harness.source_driver.read_console(order.uuid, 2) == "w\n"
        await harness.source_driver.destroy_guest(task)
        assert sorted(each.name for each in folder.glob("*console.log*")) == sorted(theirs)
    finally:
        for name in theirs:
            (folder / name).unlink()


def _write(folder: pathlib.Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text)


@pytest.mark.slow
async def test_what_a_disk_is_based_on_stays_and_of_the_rest_the_one_used_longest_ago_goes(
    harness: libvirt_harness.LibvirtHarness, tmp_path: pathlib.Path
) -> None:
    """A limit for three images: the first is below a guest that is off, whose definition does not name it."""
    host = harness.hosts["h1"]
    async with _driver(harness, _limited(3.5 / 1024)) as driver:
        images = {name: _image(tmp_path / name) for name in ("first", "second", "third", "fourth", "fifth")}
        fetched: list[str] = []

        async def build(name: str) -> base.Task:
            order, task = _order(images[name])

            @contextlib.asynccontextmanager
            async def fetch() -> AsyncIterator[str]:
                fetched.append(name)
                yield str(tmp_path / name)

            await driver.build_guest(task, order, fetch)
            return task

        def kept() -> set[str]:
            folder = host.private_images / "limited"
            return {name for name, made in images.items() if list(folder.glob(f"{made.id}-*.raw"))}

        off = await build("first")
        await driver.power_off_guest(off.instance_uuid)
        for name in ("second", "third", "second"):
            await driver.destroy_guest(await build(name))
            # Files' times are what ages them.
            await asyncio.sleep(1.1)
        assert fetched == ["first", "second", "third"], "each is brought once"
        await driver.destroy_guest(await build("fourth"))
        assert kept() == {"first", "second", "fourth"}
        # Two at once, of one image: one of them brings it.
        both = await asyncio.gather(build("fifth"), build("fifth"))
        assert fetched == ["first", "second", "third", "fourth", "fifth"]
        assert kept() == {"first", "fourth", "fifth"}
        await driver.start_guest(off.instance_uuid)
        for task in (off, *both):
            await driver.destroy_guest(task)


async def test_an_image_that_is_slow_to_come_holds_up_nobody_but_those_who_want_it(
    harness: libvirt_harness.LibvirtHarness, tmp_path: pathlib.Path
) -> None:
    """Another one is brought and built from meanwhile. What is still to come of the first counts in full: a third finds no room."""
    limited = _limited(2.5 / 1024)
    async with _driver(harness, limited) as driver:
        slow, quick, third = (_image(tmp_path / name) for name in ("slow", "quick", "third"))
        pipe = _Pipe(tmp_path / "pipe", (tmp_path / "slow").read_bytes())
        order, first = _order(slow)
        coming = asyncio.create_task(driver.build_guest(first, order, lambda: contextlib.nullcontext(str(pipe.path))))
        await pipe.until_half_read()
        try:
            order, second = _order(quick)
            async with asyncio.timeout(10):
                await driver.build_guest(second, order, lambda: contextlib.nullcontext(str(tmp_path / "quick")))
            order, task = _order(third)
            with pytest.raises(errors.BuildFailed, match="may be taken by images"):
                await driver.build_guest(task, order, lambda: contextlib.nullcontext(str(tmp_path / "third")))
            assert not coming.done()
        finally:
            pipe.give_the_rest()
            await coming
        kept = [path for path in (harness.hosts["h1"].private_images / "limited").glob(f"{slow.id}-*") if path.suffix == ".raw"]
        assert [path.read_bytes() for path in kept] == [(tmp_path / "slow").read_bytes()]
        for task in (first, second):
            await driver.destroy_guest(task)


async def test_an_image_that_was_given_up_does_not_come_in_between(harness: libvirt_harness.LibvirtHarness, tmp_path: pathlib.Path) -> None:
    """Its bytes stopped and time was up, so it is brought anew; what goes on of the first try then neither deletes nor vouches for it."""
    limited = dataclasses.replace(_limited(0), image_upload_timeout_seconds=1.0)
    others = set(threading.enumerate())
    async with _driver(harness, limited) as driver:
        made = _image(tmp_path / "image")
        pipe = _Pipe(tmp_path / "pipe", (tmp_path / "image").read_bytes())
        order, task = _order(made)
        try:
            with pytest.raises(errors.Error, match="bring an image"):
                await driver.build_guest(task, order, lambda: contextlib.nullcontext(str(pipe.path)))
            order, task = _order(made)
            await driver.build_guest(task, order, lambda: contextlib.nullcontext(str(tmp_path / "image")))
            folder = harness.hosts["h1"].private_images / "limited"
            before = sorted(path.name for path in folder.glob(f"{made.id}-*"))
            await driver.destroy_guest(task)
        finally:
            pipe.give_the_rest()
        await driver.close()
        for thread in {each for each in threading.enumerate() if each.name.startswith("libvirt-h1-")} - others:
            # What had been given up is over when its thread is.
            await asyncio.to_thread(thread.join, 20)
            assert not thread.is_alive()
        assert sorted(path.name for path in folder.glob(f"{made.id}-*")) == before
        assert _are_alike(next(folder.glob(f"{made.id}-*.raw")), tmp_path / "image")


def _limited(limit_gib: float) -> config.LibvirtSection:
    """Give what is configured with a cache of the test's own."""
    return dataclasses.replace(
        libvirt_harness.SECTION, image_cache_directory="/var/lib/libvirt/images/limited", image_cache_limit_gib=limit_gib
    )


@contextlib.asynccontextmanager
async def _driver(harness: libvirt_harness.LibvirtHarness, section: config.LibvirtSection) -> AsyncIterator[base.HypervisorDriver]:
    driver = registry.load("libvirt")(harness.source, section, harness.clock)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()
        folder = harness.hosts["h1"].private_images / "limited"
        for path in folder.glob("*"):
            path.unlink()


class _Pipe:
    """A file that gives the first half of its bytes, and the rest when it is told to."""

    def __init__(self, path: pathlib.Path, content: bytes) -> None:
        os.mkfifo(path)
        self.path = path
        self._content = content
        self._half, self._go_on = threading.Event(), threading.Event()
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        middle = len(self._content) // 2
        with contextlib.suppress(BrokenPipeError), self.path.open("wb", buffering=0) as file:
            file.write(self._content[:middle])
            self._half.set()
            self._go_on.wait()
            file.write(self._content[middle:])

    async def until_half_read(self) -> None:
        """Wait until the first half is taken, but for what a pipe holds."""
        assert await asyncio.to_thread(self._half.wait, 20)

    def give_the_rest(self) -> None:
        """Let it come to its end."""
        self._go_on.set()


def _image(path: pathlib.Path) -> image.Image:
    """Make an image of a MiB, of which nothing boots."""
    path.write_bytes(os.urandom(1 << 20))
    return image.Image(
        id=str(uuid.uuid4()),
        name=path.name,
        size_bytes=1 << 20,
        checksum=hashlib.sha512(path.read_bytes()).hexdigest(),
        checksum_algorithm="sha512",
        disk_format="raw",
        created_at=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
    )
