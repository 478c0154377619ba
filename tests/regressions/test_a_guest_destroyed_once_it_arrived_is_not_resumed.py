# SPDX-License-Identifier: Apache-2.0
"""A guest was destroyed at its source once it had arrived, the closing reply was lost: the simulated source ran it again 26 s later."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_it_runs_where_it_arrived_and_nowhere_else(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.stores["shared"].has_locks = False
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        hand = simulated.Disturbances(world)
        uuid = cloud.uuid("g2")
        hand.on_step("g2", "switch_over", lambda: hand.lose_closing_reply(uuid))

        def destroy_soon() -> None:
            # Once the step itself is over, and before the agent looks again: it has not seen that the guest was handed over.
            world.time.after(0.05, lambda: hand.destroy_guest("h1", uuid))

        hand.on_step("g2", "arrived", destroy_soon)
        doubled: list[float] = []
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        began = cloud.clock.monotonic()
        while cloud.clock.monotonic() - began < 2 * simulated.LOST_REPLY_SECONDS:
            states = [here.guests[uuid].state for here in world.hosts.values() if uuid in here.guests]
            if states.count(guest.GuestState.RUNNING) > 1:
                doubled.append(cloud.clock.monotonic() - began)
            await cloud.clock.sleep(0.05)
        assert not doubled
        record = await asking.migration_of(cloud, "g2")
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before, touched=["g2"])
