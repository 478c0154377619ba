# SPDX-License-Identifier: Apache-2.0
"""A destination that one conductor had checked, and the next one did not reach, counted as one that nobody had asked: its probes stayed."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("host", [None, "h2"], ids=["any", "named"])
async def test_what_the_earlier_check_made_goes(make_cloud: clouds.MakeCloud, world: simulated.World, host: str | None) -> None:
    """The check passed, its conductor died, and the destination's agent with it: the next owner checks again, and nobody answers."""
    # Heavier by far, so that it is the first choice.
    world.hosts["h2"].memory_mib *= 4
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)

        def strike(conductor_id: str) -> None:
            cloud.kill_conductor(conductor_id)
            cloud.kill_agent("h2")

        asking.at_step(cloud, operation.StepName.CHECK_SOURCE, strike)
        assert (await cloud.live_migrate("g1", host=host)).status_code == 202
        await cloud.until(lambda: not cloud.conductors)
        assert invariants.snapshot(world) != before
        await cloud.start_conductor()
        record = await asking.until_ended(cloud, "g1")
        if host is None:
            assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h3")
        else:
            assert record.reason is not None
            assert (record.status, record.reason.slug) == (asking.Status.ERROR, "destination_down")
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before)
