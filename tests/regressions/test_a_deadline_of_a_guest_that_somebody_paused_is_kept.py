# SPDX-License-Identifier: Apache-2.0
"""Somebody paused a guest in mid-copy: it looked like one that is switching over, and its deadline, to be forced, waited for ever."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_it_is_forced_in_its_time(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h1", "g2", memory_mib=8192, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world, libvirt={"live_migration_permit_post_copy": False}) as cloud:
        before = invariants.snapshot(world)
        hand = simulated.Disturbances(world)
        uuid = cloud.uuid("g2")
        hand.change_link("h1", mib_per_s=100.0)
        asked: list[float] = []
        cloud.on_call.append(lambda _host, method, _is_done: asked.append(cloud.clock.monotonic()) if method == "pause_guest" else None)
        begun: list[float] = []
        hand.on_step("g2", "started", lambda: begun.append(cloud.clock.monotonic()))
        answer = await cloud.live_migrate("g2", host="h2", version="2.1000", timeout_seconds=5, on_timeout="force_complete")
        assert answer.status_code == 202
        await cloud.until(lambda: bool(begun), seconds=30)
        hand.pause_guest("h1", uuid)
        await cloud.clock.sleep(6.5)
        assert asked
        assert 5.0 <= asked[0] - begun[0] <= 6.0
        record = await asking.until_ended(cloud, "g2", seconds=600)
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before, touched=["g2"])
