# SPDX-License-Identifier: Apache-2.0
"""What changed on a host was not recorded while a guest of it was on the move, and a guest that went away was noticed a minute late."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import server
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_an_inventory_is_taken_in_beside_a_migration(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A guest is paused by force in mid-copy, which its record must not follow; the pause of its neighbour is recorded at once."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        assert (await cloud.live_migrate("busy")).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        hand = simulated.Disturbances(world)
        # Slow enough that the copy goes on for the whole of the test.
        hand.change_link("h1", mib_per_s=1.0)
        hand.pause_guest("h1", cloud.uuid("busy"))
        hand.pause_guest("h1", cloud.uuid("g1"))

        async def is_recorded() -> bool:
            return bool((await cloud.server("g1"))["status"] == "PAUSED")

        await cloud.until(is_recorded, seconds=2)
        assert (await asking.migration_of(cloud, "busy")).status is asking.Status.RUNNING


async def test_a_guest_that_goes_away_is_recorded_at_once(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A transient guest is destroyed: its server is deleted within two seconds, not with the next full inventory."""
    world.add_guest("h1", "gone", memory_mib=512, is_persistent=False)
    async with make_cloud(world) as cloud:
        simulated.Disturbances(world).destroy_guest("h1", cloud.uuid("gone"))

        async def is_deleted() -> bool:
            found = await cloud.store.read(lambda uow: uow.servers.get(world.uuid_for("guest", "gone"), include_deleted=True))
            return found.vm_state is server.VmState.DELETED

        await cloud.until(is_deleted, seconds=2)
