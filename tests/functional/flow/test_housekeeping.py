# SPDX-License-Identifier: Apache-2.0
"""What a conductor counts, and what those that were killed leave behind."""

from __future__ import annotations

import logging

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


async def test_what_only_a_newer_release_knows_is_kept_for_it(
    make_cloud: clouds.MakeCloud, world: simulated.World, caplog: pytest.LogCaptureFixture
) -> None:
    """A chore of a command that is not known here stays owed, and is looked at again each time."""
    async with make_cloud(world) as cloud:
        moved = await asking.move(cloud, "g1")
        await cloud.store.run(lambda uow: uow.chores.add(moved.uuid, "h2", "FromTheFuture", {}))
        with caplog.at_level(logging.WARNING):
            await cloud.clock.sleep(2.5 * cloud.config.conductor.chore_retry_interval_seconds)
        assert caplog.text.count("what only a newer release knows") == 2
        assert [one.command for one in await cloud.store.read(lambda uow: uow.chores.list())] == ["FromTheFuture"]
