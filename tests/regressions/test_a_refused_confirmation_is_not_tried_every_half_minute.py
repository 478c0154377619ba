# SPDX-License-Identifier: Apache-2.0
"""A confirmation by itself that was refused was tried again at each sweep, for ever, since only the move's end counted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, moving
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

_OPTIONS: dict[str, dict[str, Any]] = {
    "DEFAULT": {"resize_confirm_window": 30},
    # Nothing else happens in the long waits: looking for it each second took most of these tests' time.
    "conductor": {"confirm_retry_max_seconds": 360.0, "confirm_sweep_interval_seconds": 5.0, **clouds.RARELY},
}


async def _tries(cloud: clouds.Cloud) -> int:
    listed = (await cloud.request("GET", asking.server_path(cloud, "g2", "/os-instance-actions"))).json()["instanceActions"]
    return sum(one["action"] == "confirmResize" for one in listed)


async def test_the_pause_doubles(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """While its destination is dead: after 30, 60, 120, 240 seconds, then every 360; at its return it is confirmed."""
    async with make_cloud(moving.with_two_disks(world), **_OPTIONS) as cloud:
        await moving.moved(cloud, "g2")
        began = cloud.clock.monotonic()
        cloud.kill_agent("h2")
        await asking.force_down(cloud, "h2")
        for after_seconds, expected in ((20, 0), (80, 1), (180, 2), (440, 3), (780, 4), (1160, 5)):
            await cloud.clock.sleep(began + after_seconds - cloud.clock.monotonic())
            assert await _tries(cloud) == expected, after_seconds
        await cloud.start_agent("h2")
        assert (await moving.until_resting(cloud, "g2", asking.Status.CONFIRMED)).status is asking.Status.CONFIRMED


async def test_a_way_back_that_was_refused_has_its_whole_time_again(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Who wants it back is not overtaken by the clock at once."""
    async with make_cloud(moving.with_two_disks(world), **_OPTIONS) as cloud:
        await moving.moved(cloud, "g2")
        await cloud.clock.sleep(25.0)
        kept = world.hosts["h1"].guests.pop(cloud.uuid("g2"))
        assert (await moving.settled(cloud, "g2", "revertResize")).status is asking.Status.FINISHED
        world.hosts["h1"].guests[cloud.uuid("g2")] = kept
        await cloud.clock.sleep(25.0)
        assert await _tries(cloud) == 0
        assert (await moving.until_resting(cloud, "g2", asking.Status.CONFIRMED)).status is asking.Status.CONFIRMED


async def test_a_server_whose_state_was_reset_is_left_to_a_person(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The clock confirms nothing of which somebody said that something is wrong."""
    async with make_cloud(moving.with_two_disks(world), **_OPTIONS) as cloud:
        await moving.moved(cloud, "g2")
        assert (await moving.act(cloud, "g2", "os-resetState", {"state": "error"})).status_code == 202
        await cloud.clock.sleep(200.0)
        assert await _tries(cloud) == 0
