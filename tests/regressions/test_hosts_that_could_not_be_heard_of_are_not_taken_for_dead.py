# SPDX-License-Identifier: Apache-2.0
"""After a time in which no sign of life could be stored, the first migrations failed because every host seemed to be down."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_a_conductor_that_comes_back_hears_the_hosts_before_it_judges_them(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    async with make_cloud(world) as cloud:
        await cloud.clock.sleep(30.0)
        cloud.kill_conductor()
        await cloud.clock.sleep(2 * cloud.config.default.service_down_time_seconds)
        assert (await cloud.live_migrate("g1")).status_code == 202
        await cloud.start_conductor()
        ended = await asking.until_ended(cloud, "g1", seconds=60)
        assert (ended.status, ended.reason) == (asking.Status.COMPLETED, None)


async def test_a_host_that_stays_silent_is_called_down_in_the_end(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        await cloud.clock.sleep(30.0)
        cloud.kill_agent("h2")
        cloud.kill_conductor()
        await cloud.clock.sleep(2 * cloud.config.default.service_down_time_seconds)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await cloud.start_conductor()
        ended = await asking.until_ended(cloud, "g1", seconds=60)
        assert (ended.status, ended.reason.slug if ended.reason else "") == (asking.Status.ERROR, "destination_down")
