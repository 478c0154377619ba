# SPDX-License-Identifier: Apache-2.0
"""A destination's check that hung, crashed or was killed after it made its probes left them there for ever."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("kind", [simulated.FaultKind.HANG, simulated.FaultKind.CRASH])
async def test_probes_of_a_check_without_answer_are_removed(
    make_cloud: clouds.MakeCloud, world: simulated.World, kind: simulated.FaultKind
) -> None:
    """The check has its effect and no answer: the next destination is taken, and the first one ends as it was."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        fault = simulated.CallFault(kind=kind, method="check_destination", when=simulated.When.AFTER, seconds=5.0)
        world.faults.add(fault)
        record = await asking.move(cloud, "g1")
        assert fault.seen == 2
        assert record.status is asking.Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_probes_of_a_destination_that_goes_away_before_the_admission_are_removed(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    """Its agent dies between its check and the release of its probes, and comes back later: what it is owed is paid."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        asking.at_message(cloud, "ReleaseCheck", lambda: cloud.kill_agent("h2"))
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        record = await asking.until_ended(cloud, "g1")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (asking.Status.ERROR, "destination_down")
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before, seconds=30)
