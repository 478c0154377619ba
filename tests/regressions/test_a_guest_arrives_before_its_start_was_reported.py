# SPDX-License-Identifier: Apache-2.0
"""A guest that had arrived while its source's agent could not report that it had begun was never called arrived."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_an_unreported_start_does_not_keep_it_from_completing(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The watch's first look hangs for longer than the copy takes: from `preparing` the migration still gets to `completed`."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, method="read_transfer"))
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        record = await asking.until_ended(cloud, "g1", seconds=60)
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h2")
        assert record.started_at is not None
        await invariants.come_to_hold(cloud, before)
