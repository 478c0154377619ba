# SPDX-License-Identifier: Apache-2.0
"""A destination that had begun its check, was asked again, and was gone by then counted as one that nobody had asked: its probes stayed."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_what_its_first_check_made_goes(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    # Its effect is there, its answer says that the hypervisor is away: the one destination that was named is asked again.
    fault = simulated.CallFault(
        kind=simulated.FaultKind.RAISE,
        method="check_destination",
        host="h2",
        slug="hypervisor_unavailable",
        when=simulated.When.AFTER,
        nth=1,
    )
    world.faults.add(fault)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        answer = await cloud.live_migrate("g1", host="h2")
        assert answer.status_code == 202, answer.text
        await cloud.until(lambda: invariants.snapshot(world) != before)
        cloud.kill_agent("h2")
        record = await asking.until_ended(cloud, "g1")
        assert record.status is asking.Status.ERROR
        assert record.reason is not None
        assert record.reason.slug == "destination_down"
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before)


async def test_nobody_is_owed_what_was_never_asked_for(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A destination that is away from the start has nothing of the migration, and is not made to clean up."""
    async with make_cloud(world) as cloud:
        cloud.kill_agent("h2")
        await cloud.live_migrate("g1", host="h2")
        record = await asking.until_ended(cloud, "g1")
        assert record.status is asking.Status.ERROR
        assert not await cloud.store.read(lambda uow: uow.chores.list())
