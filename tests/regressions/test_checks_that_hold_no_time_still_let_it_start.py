# SPDX-License-Identifier: Apache-2.0
"""With `check_ttl_seconds = 0`, checks were too old as soon as they had passed, and ran again and again: nothing ever started.

On the real clock, on which some time passes between any two steps.
"""

from __future__ import annotations

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds


async def test_it_starts(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Its checks run once, since it does not wait in the queue."""
    async with make_cloud(world, conductor={"check_ttl_seconds": 0.0}) as cloud:
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING, asking.Status.COMPLETED, seconds=15.0)
        names = [name for name, *_ in await asking.events_of(cloud, "g1")]
        assert names.count("compute_check_can_live_migrate_source") == 1
