# SPDX-License-Identifier: Apache-2.0
"""Images on their way to a real host: what is not what was promised stays away, and what a dead process left half is brought again."""

from __future__ import annotations

import dataclasses
import pathlib
import uuid
from collections.abc import AsyncIterator

import pytest

from tests.lab import libvirt_harness
from wherry import errors
from wherry.drivers import base
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
    return sorted((host.private_images / "wherry-base").glob(f"{made.id}-*"))


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
        await harness.source_driver.build_guest(task, order, path)
    assert _cached(harness.hosts["h1"], order.image) == []
    assert (await harness.source_driver.observe_guest(order.uuid)).state is guest.GuestState.ABSENT


async def test_a_half_brought_image_is_brought_again(harness: libvirt_harness.LibvirtHarness) -> None:
    made, path = await harness.image()
    order, task = _order(made)
    await harness.source_driver.build_guest(task, order, path)
    await harness.source_driver.destroy_guest(task)
    kept, mark = _cached(harness.hosts["h1"], made)
    mark.unlink()
    kept.write_bytes(b"half")
    order, task = _order(made)
    await harness.source_driver.build_guest(task, order, path)
    assert _are_alike(kept, pathlib.Path(path))
    assert _cached(harness.hosts["h1"], made) == [kept, mark]
    await harness.source_driver.destroy_guest(task)
