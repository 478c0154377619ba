# SPDX-License-Identifier: Apache-2.0
"""A service was removed while its host had a part of a cold migration, or was owed something, and that was forgotten with it."""

from __future__ import annotations

import httpx
import pytest

from tests.functional.flow import asking, moving
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)


async def _remove(cloud: clouds.Cloud, host: str) -> httpx.Response:
    (service,) = (await cloud.request("GET", f"/v2.1/os-services?host={host}")).json()["services"]
    return await cloud.request("DELETE", f"/v2.1/os-services/{service['id']}")


async def test_both_ends_are_kept_until_it_is_confirmed(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """While the disks are sent, and while it waits; then while the source is owed its clearing, until it is called dead."""
    del world.hosts["h1"].guests[world.uuid_for("guest", "g1")]
    world.hosts["h1"].uplink.mib_per_s = 10.0
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
        await asking.until_status(cloud, "g2", asking.Status.MIGRATING)
        under_way = await _remove(cloud, "h2")
        await moving.until_resting(cloud, "g2", asking.Status.FINISHED)
        waiting = await _remove(cloud, "h1")
        for refused in (under_way, waiting):
            assert refused.status_code == 409 and "has in-progress migrations" in refused.text
        cloud.kill_agent("h1")
        await moving.settled(cloud, "g2", "confirmResize")
        refused = await _remove(cloud, "h1")
        assert refused.status_code == 409 and "is owed its cleaning" in refused.text
        await asking.force_down(cloud, "h1")
        assert (await _remove(cloud, "h1")).status_code == 204
        # One of that name registers after all.
        await cloud.start_agent("h1")
        await invariants.at_rest(cloud)
        assert moving.at(cloud, "h1", "g2") is None
