# SPDX-License-Identifier: Apache-2.0
"""A destination that has its slot and cannot make ready is cleared, and the next one is tried; the guest has not been touched."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.drivers.simulated.faults import CallFault, FaultKind, When
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
_PREPARE = "compute_pre_live_migration"


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `g2` whose second disk is copied; h2 has most room, and is chosen first."""
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"), conftest.disk("/own/g2.raw", name="vdb")))
    world.add_guest("h3", "weight", memory_mib=16_384, disks=(conftest.disk("/shared/weight.raw"),))
    return world


async def _prepared(cloud: clouds.Cloud) -> list[tuple[str, str]]:
    return [(host, result) for name, host, result in await asking.events_of(cloud, "g2") if name == _PREPARE]


async def test_one_that_dies_when_it_is_told_to_make_ready(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The guest goes elsewhere; what the dead one is owed it is given at its return."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        asking.at_message(cloud, "PrepareDestination", lambda: cloud.kill_agent("h2"))
        record = await asking.move(cloud, "g2")
        assert (record.status, record.dest_compute, record.reason) == (Status.COMPLETED, "h3", None)
        assert await _prepared(cloud) == [("h2", "Error"), ("h3", "Success")]
        await invariants.hold(cloud, before, is_owing=True)
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before, seconds=120)


@pytest.mark.parametrize("when", list(When), ids=[when.value for when in When])
async def test_one_that_cannot(make_cloud: clouds.MakeCloud, world: simulated.World, when: When) -> None:
    """What it had made already is gone."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(CallFault(kind=FaultKind.RAISE, slug="hypervisor_failure", host="h2", method="prepare_destination", when=when))
        record = await asking.move(cloud, "g2")
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h3")
        assert not world.hosts["h2"].has_file("/own/g2.raw")
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(
    ("asked", "options"), [({"host": "h2"}, {}), ({}, {"migrate_max_retries": 0})], ids=["named", "no retries are configured"]
)
async def test_no_other_one_may_be_tried(
    make_cloud: clouds.MakeCloud, world: simulated.World, asked: dict[str, Any], options: dict[str, Any]
) -> None:
    async with make_cloud(world, DEFAULT=options) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(CallFault(kind=FaultKind.RAISE, slug="hypervisor_failure", host="h2", method="prepare_destination"))
        record = await asking.move(cloud, "g2", **asked)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.FAILED, "hypervisor_failure")
        await invariants.come_to_hold(cloud, before)


async def test_none_of_them_can(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It fails with what the last one said."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(CallFault(kind=FaultKind.RAISE, slug="hypervisor_failure", method="prepare_destination", nth=0))
        record = await asking.move(cloud, "g2")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.FAILED, "hypervisor_failure")
        assert await _prepared(cloud) == [("h2", "Error"), ("h3", "Error")]
        await invariants.come_to_hold(cloud, before)


async def test_an_abort_that_comes_meanwhile_ends_it_untouched(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Recorded while the first one is cleared: no second one is asked."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(CallFault(kind=FaultKind.RAISE, slug="hypervisor_failure", host="h2", method="prepare_destination"))
        world.faults.add(CallFault(kind=FaultKind.DELAY, host="h2", method="roll_back_destination", seconds=5.0))
        assert (await cloud.live_migrate("g2")).status_code == 202
        await asking.until_status(cloud, "g2", Status.PREPARING)
        await cloud.clock.sleep(1.0)
        assert (await asking.abort(cloud, "g2")).status_code == 202
        record = await asking.until_ended(cloud, "g2", seconds=60)
        assert record.status is Status.CANCELLED
        assert [host for host, _ in await _prepared(cloud)] == ["h2"]
        await invariants.come_to_hold(cloud, before)
