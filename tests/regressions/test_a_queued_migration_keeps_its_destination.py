# SPDX-License-Identifier: Apache-2.0
"""A migration whose checks ran again in the queue counted its own claim against its destination, and left it or was refused by it."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("host", [None, "h2"], ids=["any", "named"])
async def test_the_room_that_it_claims_is_its_own(make_cloud: clouds.MakeCloud, world: simulated.World, host: str | None) -> None:
    """The destination has room for this one guest only: checked again after check_ttl, it still fits and is still the choice."""
    world.add_guest("h1", "large", memory_mib=40_000)
    hand = simulated.Disturbances(world)
    hand.change_link("h1", mib_per_s=50.0)
    async with make_cloud(world, conductor={"check_ttl_seconds": 5.0}) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g1", host="h3")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        assert (await cloud.live_migrate("large", host=host)).status_code == 202
        waiting = await asking.until_status(cloud, "large", asking.Status.QUEUED)
        assert waiting.dest_compute == "h2"
        await asking.until_status(cloud, "large", asking.Status.RUNNING)
        hand.change_link("h1", mib_per_s=20_000.0)
        hand.change_link("h2", mib_per_s=20_000.0)
        record = await asking.until_ended(cloud, "large")
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h2")
        checks = [one for one in await asking.events_of(cloud, "large") if one[0] == "compute_check_can_live_migrate_destination"]
        assert len(checks) == 2
        await invariants.come_to_hold(cloud, before)
