# SPDX-License-Identifier: Apache-2.0
"""A host owed the cleaning of a check took the same guest in before it was paid: it forgot the probe, and the chore was dropped."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_it_goes_as_the_next_takes_its_place(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    failing = [
        simulated.CallFault(kind=simulated.FaultKind.RAISE, slug="hypervisor_failure", host=host, method=method, nth=0)
        for host, method in (("h1", "check_source"), ("h2", "roll_back_destination"))
    ]
    mends = [world.faults.add(fault) for fault in failing]
    async with make_cloud(world, conductor={"chore_retry_interval_seconds": 300.0}) as cloud:
        before = invariants.snapshot(world)
        await cloud.live_migrate("g1", host="h2", version="2.34")
        await making.until_free(cloud, cloud.uuid("g1"))
        assert [chore.host for chore in await cloud.store.read(lambda uow: uow.chores.list())] == ["h2"]
        for mend in mends:
            mend()
        assert (await asking.move(cloud, "g1", host="h2")).status is asking.Status.COMPLETED
        await invariants.come_to_hold(cloud, before)
