# SPDX-License-Identifier: Apache-2.0
"""A report that another conductor took in was acted on only when its driver had heard nothing for agent_silence_seconds."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_three_conductors_are_as_fast_as_one(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """With three, two thirds of the reports of a migration come to the one that does not drive it."""
    async with make_cloud(world) as cloud:
        alone = await _seconds_of(cloud)
        for _ in range(2):
            await cloud.start_conductor()
        together = [await _seconds_of(cloud) for _ in range(6)]
        # A sweep, or a word from the other conductor, for each of the two reports.
        slack = 2 * cloud.config.conductor.sweep_interval_seconds + 0.5
    assert max(together) <= alone + slack, (alone, together)


async def _seconds_of(cloud: clouds.Cloud) -> float:
    begun = cloud.clock.monotonic()
    await asking.move(cloud, "g1")
    took = cloud.clock.monotonic() - begun
    await cloud.clock.sleep(5.0)
    return took
