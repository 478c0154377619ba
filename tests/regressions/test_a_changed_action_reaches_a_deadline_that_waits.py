# SPDX-License-Identifier: Apache-2.0
"""The action at the deadline was changed while the deadline's own waited for a dead link: told as changed, and never done."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
#: 2 GiB of memory at 5 s for each GiB.
_OPTIONS = {
    "live_migration_completion_timeout": 5,
    "live_migration_timeout_action": "force_complete",
    "live_migration_permit_post_copy": True,
}


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest whose copy never ends by itself."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    return world


async def _reconfigure(cloud: clouds.Cloud, **options: Any) -> None:
    section = dataclasses.replace(cloud.config.libvirt, **options)
    await cloud.agents["h1"].part.reload(dataclasses.replace(cloud.config, libvirt=section))


async def _told(cloud: clouds.Cloud, request_id: str) -> list[str]:
    action = await asking.action_of(cloud, "busy", request_id)
    return [one.name for one in reversed(action.events) if one.name in ("deadline_applied", "deadline_changed")]


@pytest.mark.parametrize("per_gib", [5, 20], ids=["over", "later-again"])
async def test_it_is_done(make_cloud: clouds.MakeCloud, world: simulated.World, per_gib: int) -> None:
    """At once where the deadline is over; where it was made later too, at its new time."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(5.0)
        simulated.Disturbances(world).cut_link("h2")
        await cloud.clock.sleep(15.0)
        assert (await asking.migration_of(cloud, "busy")).status is Status.RUNNING
        await _reconfigure(cloud, live_migration_timeout_action="abort", live_migration_completion_timeout=per_gib)
        changed_at = cloud.clock.now()
        record = await asking.until_ended(cloud, "busy", seconds=60)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "deadline")
        assert record.finished_at is not None
        assert record.started_at is not None
        due = max(2.0 * per_gib, (changed_at - record.started_at).total_seconds())
        assert due <= (record.finished_at - record.started_at).total_seconds() <= due + 1.0


async def test_what_is_done_is_not_told_to_change(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The guest was paused by the deadline: no other action follows, and none is shown."""
    async with make_cloud(world, libvirt=_OPTIONS | {"live_migration_permit_post_copy": False}) as cloud:
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        answer = await cloud.live_migrate("busy", host="h2")
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(15.0)
        await _reconfigure(cloud, live_migration_timeout_action="abort")
        record = await asking.until_ended(cloud, "busy", seconds=120)
        assert record.deadline is not None
        assert (record.status, record.deadline.on_timeout.value) == (Status.COMPLETED, "force_complete")
        assert await _told(cloud, answer.headers["x-openstack-request-id"]) == ["deadline_applied"]
