# SPDX-License-Identifier: Apache-2.0
"""A request whose nudge was lost and whose server was reset before the sweep ended without any event: its id told nothing."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_the_first_word_of_a_request_is_that_it_is_given_up(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        asking.at_message(cloud, "LiveMigrateServer", lambda: mortal.Fate.LOST)
        assert (await cloud.live_migrate("g1")).status_code == 202
        reset = await cloud.request("POST", asking.server_path(cloud, "g1", "/action"), json={"os-resetState": {"state": "active"}})
        assert reset.status_code == 202
        record = await asking.until_ended(cloud, "g1")
        assert record.status is asking.Status.CANCELLED
        await invariants.come_to_hold(cloud, before)
        assert await asking.events_of(cloud, "g1") == [("conductor_live_migrate_server", "control", "Error")]
