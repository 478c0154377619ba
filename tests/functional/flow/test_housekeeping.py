# SPDX-License-Identifier: Apache-2.0
"""What a conductor counts, and what those that were killed leave behind."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_a_success_is_counted_with_the_time_that_its_transfer_took(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        moved = await asking.move(cloud, "g1")
        assert moved.started_at is not None
        assert moved.finished_at is not None
        counted = cloud.metrics.registry.get_sample_value
        assert counted("wherry_migrations_total", {"outcome": "completed", "reason": ""}) == 1
        took = counted("wherry_migration_transfer_seconds_sum", {"outcome": "completed"})
        assert took == pytest.approx((moved.finished_at - moved.started_at).total_seconds())


async def test_the_row_of_a_killed_conductor_goes_when_the_next_one_starts(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        cloud.kill_conductor()
        await cloud.clock.sleep(3 * cloud.config.conductor.lease_seconds)
        successor = await cloud.start_conductor()
        assert [one.id for one in await cloud.store.read(lambda uow: uow.conductors.list())] == [successor]
