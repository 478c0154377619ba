# SPDX-License-Identifier: Apache-2.0
"""A check passed, its conductor died before it stored that, and the next one's check was refused: a refusal was taken to leave no probe."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_the_probe_is_gone_before_the_next_migration(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    refusal = simulated.CallFault(
        kind=simulated.FaultKind.RAISE, slug="destination_disk_exists", host="h2", method="check_destination", nth=2
    )
    world.faults.add(refusal)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        asking.at_call(cloud, "h2", "check_destination", cloud.kill_conductor, is_done=True)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await cloud.until(lambda: not cloud.conductors)
        await cloud.start_conductor()
        record = await asking.until_ended(cloud, "g1")
        assert refusal.seen == 2
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (asking.Status.ERROR, "destination_disk_exists")
        await invariants.come_to_hold(cloud, before, seconds=30)
