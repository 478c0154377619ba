# SPDX-License-Identifier: Apache-2.0
"""A source that was called dead and came back still sending was only looked at: no abort and no force-complete reached it."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def _reason(cloud: clouds.Cloud, slug: str) -> None:
    async def is_there() -> bool:
        reason = (await asking.migration_of(cloud, "busy")).reason
        return reason is not None and reason.slug == slug

    await cloud.until(is_there, seconds=200)


@pytest.mark.parametrize("ask", ["abort", "force_complete"])
async def test_a_source_called_dead_that_comes_back_sending_is_told_what_was_asked(
    make_cloud: clouds.MakeCloud, world: simulated.World, ask: str
) -> None:
    """Its job goes on all the while: it is followed as before, and an abort or a force-complete reaches it."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        cloud.kill_agent("h1")
        await _reason(cloud, "source_unreachable")
        # The destination's too, or the verdict would be given without the source.
        cloud.kill_agent("h2")
        await cloud.store.run(lambda uow: uow.hosts.update_service("h1", is_forced_down=True))
        await _reason(cloud, "destination_unreachable")
        await cloud.start_agent("h1")
        await cloud.start_agent("h2")
        await cloud.clock.sleep(10.0)
        record = await asking.migration_of(cloud, "busy")
        assert (record.status, record.reason) == (asking.Status.RUNNING, None)
        if ask == "abort":
            assert (await asking.abort(cloud, "busy")).status_code == 202
        else:
            path = asking.server_path(cloud, "busy", f"/migrations/{record.id}/action")
            assert (await cloud.request("POST", path, json={"force_complete": None})).status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.status is (asking.Status.CANCELLED if ask == "abort" else asking.Status.COMPLETED)
        await invariants.come_to_hold(cloud, before)
