# SPDX-License-Identifier: Apache-2.0
"""A destination whose finishing failed each time was never told again: its notes had no end, and what it had to do stayed undone."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_the_finish_becomes_a_chore(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The migration completes, saying what is wrong; once the destination can, it finishes, and nothing is owed any more."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        mend = world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="finish_destination", nth=0))
        record = await asking.move(cloud, "g1", host="h2")
        assert record.status is asking.Status.COMPLETED
        owed = await cloud.store.read(lambda uow: uow.chores.list("h2"))
        assert [one.command for one in owed] == ["FinishDestination"]
        mend()
        await invariants.come_to_hold(cloud, before, seconds=90)
