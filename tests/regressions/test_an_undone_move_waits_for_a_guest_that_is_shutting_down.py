# SPDX-License-Identifier: Apache-2.0
"""A cold migration was undone while its guest, asked to shut down, was still doing so: it was found running, and went off afterwards."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest, moving
from wherry.drivers import simulated
from wherry.model import guest, operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


def _add(world: simulated.World, shutdown_seconds: float | None) -> None:
    world.add_guest("h1", "g2", memory_mib=1024, vcpus=1, shutdown_seconds=shutdown_seconds, disks=(conftest.disk("/own/g2.raw"),))


async def _undo(cloud: clouds.Cloud) -> None:
    """Reset the server's state a second after its guest was asked to shut down."""
    assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
    await cloud.clock.sleep(1.0)
    assert (await moving.act(cloud, "g2", "os-resetState", {"state": "active"})).status_code == 202
    record = await asking.until_ended(cloud, "g2")
    assert record.status is asking.Status.CANCELLED


@pytest.mark.parametrize("shutdown_seconds", [8.0, None], ids=["heeds-it", "does-not"])
async def test_it_runs_in_the_end(make_cloud: clouds.MakeCloud, world: simulated.World, shutdown_seconds: float | None) -> None:
    _add(world, shutdown_seconds)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _undo(cloud)
        await cloud.clock.sleep(60.0)
        assert moving.state_at(cloud, "h1", "g2") is guest.GuestState.RUNNING
        await invariants.come_to_hold(cloud, before)


async def test_also_where_its_conductor_died_before_it_noted_the_answer(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    _add(world, 8.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        asking.at_call(cloud, "h1", "shut_down_guest", cloud.kill_conductor, is_done=True)
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202

        async def is_asked() -> bool:
            record = await asking.migration_of(cloud, "g2")
            of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
            return of.step is operation.StepName.SHUT_DOWN

        await cloud.until(is_asked)
        assert (await moving.act(cloud, "g2", "os-resetState", {"state": "active"})).status_code == 202
        await cloud.start_conductor()
        record = await asking.until_ended(cloud, "g2")
        assert record.status is asking.Status.CANCELLED
        await cloud.clock.sleep(60.0)
        assert moving.state_at(cloud, "h1", "g2") is guest.GuestState.RUNNING
        await invariants.come_to_hold(cloud, before)
