# SPDX-License-Identifier: Apache-2.0
"""Contract: a guest is made from an image and removed with what was made for it, twice as well as once; a found guest's disk stays."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pytest

from wherry import errors
from wherry.drivers import base
from wherry.model import build, guest
from wherry.testing.driver_contract.harness import GuestWish, Harness, Recorder, Storage

_S = guest.GuestState
_GIB = 1 << 30


class MakingContract:
    """Build, destroy, read the console."""

    async def test_a_guest_is_made_and_removed_with_its_files(self, harness: Harness) -> None:
        driver, order, path = harness.source_driver, *await _order(harness)
        recorder, task = _task(harness, order.uuid)
        if not harness.capabilities.build:
            await _all_refused(harness, order, path)
            return
        before = await harness.files(harness.source)
        for _ in range(2):
            made = await driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
            assert (made.uuid, made.name, made.state) == (order.uuid, order.name, _S.RUNNING)
            assert (made.memory_mib, made.vcpus, made.project_id, made.is_persistent) == (64, 1, "project", True)
            assert [disk.capacity_bytes for disk in made.disks] == [_GIB]
        assert recorder.files_before == before, "what is created is named first"
        files = await harness.files(harness.source) - before
        assert files and files <= recorder.named
        # Another process, which was told of nothing that was made: the guest's own definition names it.
        _, later = _task(harness, order.uuid)
        for _ in range(2):
            await driver.destroy_guest(later)
            assert (await driver.observe_guest(order.uuid)).state is _S.ABSENT
            assert await harness.files(harness.source) == before

    async def test_what_a_dead_process_made_is_removed_by_the_names_it_left(self, harness: Harness) -> None:
        if not harness.capabilities.build:
            return  # refused: see the test above
        driver, order, path = harness.source_driver, *await _order(harness)
        before = await harness.files(harness.source)
        recorder, task = _task(harness, order.uuid)
        await driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
        _, later = _task(harness, order.uuid, created=frozenset(recorder.named))
        await driver.destroy_guest(later)
        assert await harness.files(harness.source) == before

    async def test_a_guest_that_was_found_goes_and_its_disk_stays(self, harness: Harness) -> None:
        if not harness.capabilities.build:
            return  # refused: see the test above
        driver, found = harness.source_driver, await harness.create_guest(GuestWish(storage=Storage.PRIVATE))
        files = await harness.files(harness.source)
        order, path = await _order(harness, uuid=found)
        _, task = _task(harness, found)
        with pytest.raises(errors.BuildFailed):
            await driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
        assert (await driver.observe_guest(found)).state is _S.RUNNING
        await driver.destroy_guest(task)
        assert (await driver.observe_guest(found)).state is _S.ABSENT
        assert await harness.files(harness.source) == files

    async def test_the_console_of_a_guest_that_is_not_here_cannot_be_read(self, harness: Harness) -> None:
        if not harness.capabilities.build:
            return  # refused: see the first test
        driver, order, path = harness.source_driver, *await _order(harness)
        with pytest.raises(errors.GuestNotFound):
            await driver.read_console(order.uuid, 1000)
        _, task = _task(harness, order.uuid)
        await driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
        assert len(await driver.read_console(order.uuid, 5)) <= 5
        await driver.destroy_guest(task)


async def _all_refused(harness: Harness, order: build.GuestOrder, path: str) -> None:
    driver, (recorder, task) = harness.source_driver, _task(harness, order.uuid)
    with pytest.raises(errors.Unsupported):
        await driver.build_guest(task, order, lambda: contextlib.nullcontext(path))
    with pytest.raises(errors.Unsupported):
        await driver.destroy_guest(task)
    with pytest.raises(errors.Unsupported):
        await driver.read_console(order.uuid, 1000)
    assert not recorder.named


async def _order(harness: Harness, **fields: Any) -> tuple[build.GuestOrder, str]:
    image, path = await harness.image()
    number = uuid.uuid4()
    known: dict[str, Any] = {
        "uuid": str(number),
        "name": f"instance-{number.hex[:8]}",
        "title": "A <guest> & its title",
        "memory_mib": 64,
        "vcpus": 1,
        "root_gib": 1,
        "image": image,
        "project_id": "project",
        "user_id": "user",
        "has_network": False,
    }
    return build.GuestOrder(**(known | fields)), path


def _task(harness: Harness, instance_uuid: str, created: frozenset[str] = frozenset()) -> tuple[Recorder, base.Task]:
    recorder = Recorder(lambda: harness.files(harness.source))
    return recorder, base.Task(operation_id=str(uuid.uuid4()), instance_uuid=instance_uuid, record_created=recorder.record, created=created)
