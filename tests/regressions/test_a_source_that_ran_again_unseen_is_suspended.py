# SPDX-License-Identifier: Apache-2.0
"""The closing reply was lost while the source's agent was dead from before the hand-over on: back, it let both guests run for ever."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("is_early", [False, True], ids=["at the hand-over", "as it was told to begin"])
async def test_both_run_for_a_second_from_its_return_and_the_destination_wins(
    make_cloud: clouds.MakeCloud, world: simulated.World, is_early: bool
) -> None:
    """Also where it had not noted that the transfer began, and was to be told again in half a minute."""
    world.stores["shared"].has_locks = False
    world.add_guest("h1", "g2", memory_mib=4096, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        hand = simulated.Disturbances(world)
        uuid = cloud.uuid("g2")
        hand.on_step("g2", "switch_over", lambda: hand.lose_closing_reply(uuid))
        if is_early:
            asking.at_call(cloud, "h1", "start_transfer", lambda: cloud.kill_agent("h1"), is_done=True)
        else:
            hand.on_step("g2", "arrived", lambda: cloud.kill_agent("h1"))
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        here = world.hosts["h1"].guests
        await cloud.until(lambda: bool(world.copying.ended) and here[uuid].state is guest.GuestState.RUNNING, seconds=60)
        await cloud.start_agent("h1")
        await cloud.clock.sleep(1.0)
        assert uuid not in here or here[uuid].state is not guest.GuestState.RUNNING
        record = await asking.until_ended(cloud, "g2", seconds=60)
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before)
