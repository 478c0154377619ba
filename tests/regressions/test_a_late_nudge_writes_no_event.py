# SPDX-License-Identifier: Apache-2.0
"""A nudge that came late, or to a conductor that did not own the operation, wrote an error event into the story of a success."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.rpc import addresses, messages
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("is_ended", [False, True], ids=["running", "ended"])
async def test_only_the_owner_of_the_checks_tells_of_them(make_cloud: clouds.MakeCloud, world: simulated.World, is_ended: bool) -> None:
    """Both conductors are nudged while the copy runs, or after it: the action's events stay as they were."""
    async with make_cloud(world) as cloud:
        await cloud.start_conductor()
        assert (await cloud.live_migrate("g1")).status_code == 202
        wanted = asking.Status.COMPLETED if is_ended else asking.Status.RUNNING
        record = await asking.until_status(cloud, "g1", wanted)
        events = await asking.events_of(cloud, "g1")
        for _ in range(4):
            await cloud.cast(addresses.conductor(), messages.LiveMigrateServer(operation_id=record.uuid))
        await cloud.clock.sleep(0.1)
        assert await asking.events_of(cloud, "g1") == events
        assert "Error" not in {result for _name, _host, result in events}
