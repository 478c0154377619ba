# SPDX-License-Identifier: Apache-2.0
"""A copy that ended because the source's hypervisor daemon died was recorded as `hypervisor_failed`, like any other failure."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("back_after_seconds", [0.1, 30.0])
async def test_the_record_says_that_the_hypervisor_was_lost(
    make_cloud: clouds.MakeCloud, world: simulated.World, back_after_seconds: float
) -> None:
    async with make_cloud(world) as cloud:
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        simulated.Disturbances(world).kill_daemon("h1", back_after_seconds=back_after_seconds)
        record = await asking.until_ended(cloud, "g1")
    assert record.reason is not None
    assert (record.status, record.reason.slug) == (asking.Status.FAILED, "hypervisor_connection_lost")
    assert "h1" in record.reason.message


async def test_a_lost_destination_is_not_taken_for_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        simulated.Disturbances(world).kill_daemon("h2", back_after_seconds=5.0)
        record = await asking.until_ended(cloud, "g1")
    assert record.reason is not None
    assert (record.status, record.reason.slug) == (asking.Status.FAILED, "hypervisor_failed")
    assert "lost connection" in record.reason.message, "the hypervisor's words are kept while the destination is waited for"
