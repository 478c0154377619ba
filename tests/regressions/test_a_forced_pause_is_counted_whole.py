# SPDX-License-Identifier: Apache-2.0
"""A guest that stood still for a minute, since its migration was forced to complete by a pause, was on record with 5 ms.

libvirt counts a pause of ours, which comes long before the switch-over; the simulated driver counted the switch-over alone.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)


@pytest.mark.parametrize("away", [None, 5.0, 300.0], ids=["", "agent-back-before-the-end", "agent-back-after-the-end"])
async def test_the_record_says_how_long_it_stood_still(make_cloud: clouds.MakeCloud, world: simulated.World, away: float | None) -> None:
    world.add_guest("h1", "busy", memory_mib=1024, dirty_mib_per_s=200.0, disks=(conftest.disk("/shared/busy.raw"),))
    simulated.Disturbances(world).change_link("h1", mib_per_s=25.0)
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("busy")

        def runs() -> bool:
            sides = (host.guests.get(uuid) for host in world.hosts.values())
            return any(one is not None and one.state is guest.GuestState.RUNNING for one in sides)

        answer = await cloud.live_migrate("busy", host="h2", version="2.1000", timeout_seconds=6, on_timeout="force_complete")
        assert answer.status_code == 202
        await cloud.until(lambda: not runs(), seconds=30)
        paused_at = cloud.clock.monotonic()
        restarting = asyncio.create_task(_killed_for(cloud, away)) if away is not None else None
        await cloud.until(runs, seconds=300)
        stood_still = cloud.clock.monotonic() - paused_at
        if restarting is not None:
            await restarting
        record = await asking.until_ended(cloud, "busy", seconds=60)
        assert record.status is asking.Status.COMPLETED
        assert stood_still > 30
        assert record.progress is not None
        assert record.progress.downtime_ms is not None
        assert record.progress.downtime_ms / 1000 == pytest.approx(stood_still, abs=1.0)


async def _killed_for(cloud: clouds.Cloud, seconds: float) -> None:
    await cloud.clock.sleep(10.0)
    cloud.kill_agent("h1")
    await cloud.clock.sleep(seconds)
    await cloud.start_agent("h1")
