# SPDX-License-Identifier: Apache-2.0
"""While the destination was silent, the source was judged again and again by what it had shown when the job ended."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_a_guest_that_is_destroyed_while_the_destination_is_silent_is_not_called_running(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    async with make_cloud(world) as cloud:
        disturb = simulated.Disturbances(world)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        disturb.kill_daemon("h2", back_after_seconds=10.0)
        await cloud.clock.sleep(5.0)
        disturb.destroy_guest("h1", cloud.uuid("g1"))
        record = await asking.until_ended(cloud, "g1")
    assert record.reason is not None
    assert (record.status, record.reason.slug) == (asking.Status.FAILED, "guest_stopped")
