# SPDX-License-Identifier: Apache-2.0
"""An undo was tried for ever when its source answered that it could not, and the record did not say so."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.drivers.simulated import CallFault, FaultKind
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


def _each_resumption(slug: str) -> CallFault:
    return CallFault(kind=FaultKind.RAISE, slug=slug, host="h1", method="resume_guest", nth=0)


async def _left_paused(cloud: clouds.Cloud, world: simulated.World) -> str:
    """Have a guest that is paused to complete lose its destination and stay paused, so that its source must let it run on."""
    answer = await cloud.live_migrate("busy", host="h2", version="2.1000", timeout_seconds=2, on_timeout="force_complete")
    assert answer.status_code == 202
    uuid = cloud.uuid("busy")
    await cloud.until(lambda: world.hosts["h1"].guests[uuid].state is guest.GuestState.PAUSED_FOR_SWITCH_OVER)
    hand = simulated.Disturbances(world)
    hand.on_step("busy", "ended", lambda: hand.pause_guest("h1", uuid))
    hand.destroy_guest("h2", uuid)
    return uuid


async def test_a_guest_that_cannot_be_let_run_on_ends_in_error(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The undo is not tried for ever: status and reason say so, and nothing on either host is taken away."""
    world.add_guest("h1", "busy", memory_mib=16_384, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        world.faults.add(_each_resumption("hypervisor_failure"))
        uuid = await _left_paused(cloud, world)
        record = await asking.until_ended(cloud, "busy", seconds=120)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (asking.Status.ERROR, "undo_failed")
        assert "scripted fault" in record.reason.message
        assert uuid in world.hosts["h1"].guests
        shown = await cloud.server("busy")
        assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ERROR", None)
        assert ("compute_rollback_live_migration_at_destination", "h2", "Error") in await asking.events_of(cloud, "busy")


async def test_a_guest_that_cannot_be_let_run_on_yet_is_waited_for(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """For a passing reason it is tried until it works, and the record says why meanwhile."""
    world.add_guest("h1", "busy", memory_mib=16_384, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        mend = world.faults.add(_each_resumption("hypervisor_unavailable"))
        await _left_paused(cloud, world)
        await cloud.clock.sleep(120.0)
        record = await asking.migration_of(cloud, "busy")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (asking.Status.RUNNING, "undo_waits")
        mend()
        assert (await asking.until_ended(cloud, "busy", seconds=60)).status is asking.Status.FAILED
        await invariants.come_to_hold(cloud, before)
