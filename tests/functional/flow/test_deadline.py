# SPDX-License-Identifier: Apache-2.0
"""The completion timeout: it fires on time, also across restarts, and does what the configuration says."""

from __future__ import annotations

import datetime

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest, migration
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
#: 2 GiB of memory at 5 s for each GiB.
_LIMIT = 10.0
_OPTIONS = {"live_migration_completion_timeout": 5}


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `busy` of 2 GiB whose copy never ends by itself."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    return world


def _seconds(record: migration.Migration, at: datetime.datetime | None) -> float:
    assert record.started_at is not None
    assert at is not None
    return (at - record.started_at).total_seconds()


async def test_it_aborts(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """On time; the record and the event say so with the numbers, and the guest runs on at the source."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        running = await asking.until_status(cloud, "busy", Status.RUNNING)
        assert running.deadline is not None
        assert (running.deadline.timeout_seconds, running.deadline.timeout_origin.value) == (_LIMIT, "configuration")
        assert _seconds(running, running.deadline_at) == pytest.approx(_LIMIT, abs=0.1)
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "deadline")
        assert "after 10.00 s of 10 s" in record.reason.message
        assert _LIMIT <= _seconds(record, record.finished_at) <= _LIMIT + 1.0
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("is_post_copy", [False, True], ids=["by-pause", "by-post-copy"])
async def test_it_forces_to_complete(make_cloud: clouds.MakeCloud, world: simulated.World, is_post_copy: bool) -> None:
    """By pausing the guest, or by the switch where that is permitted: it completes, and the guest runs at the destination."""
    options = _OPTIONS | {"live_migration_timeout_action": "force_complete", "live_migration_permit_post_copy": is_post_copy}
    async with make_cloud(world, libvirt=options) as cloud:
        before = invariants.snapshot(world)
        taken: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: taken.append(method) if is_done else None)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.status is Status.COMPLETED
        assert ("start_post_copy" in taken, "pause_guest" in taken) == (is_post_copy, not is_post_copy)
        assert _seconds(record, record.finished_at) >= _LIMIT
        await invariants.come_to_hold(cloud, before)


async def test_zero_is_no_deadline(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It goes on for ever, until somebody aborts it."""
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 0}) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        running = await asking.until_status(cloud, "busy", Status.RUNNING)
        assert running.deadline_at is None
        await cloud.clock.sleep(200.0)
        assert (await asking.migration_of(cloud, "busy")).status is Status.RUNNING
        assert (await asking.abort(cloud, "busy")).status_code == 202
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(("at", "away"), [(2.0, 3.0), (2.0, 30.0), (9.0, 2.0)], ids=["before", "after", "across"])
async def test_it_holds_across_the_agents_death(make_cloud: clouds.MakeCloud, world: simulated.World, at: float, away: float) -> None:
    """The same absolute deadline: on time when the agent is back before it, within a second of its return otherwise."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        running = await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(at)
        cloud.kill_agent("h1")
        await cloud.clock.sleep(away)
        await cloud.start_agent("h1")
        back = _seconds(running, cloud.clock.now())
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "deadline")
        due = max(_LIMIT, back)
        assert due <= _seconds(record, record.finished_at) <= due + 1.0
        await invariants.come_to_hold(cloud, before)


async def test_it_fires_without_any_conductor(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The source's agent keeps it by itself; the record follows when a conductor is back."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        cloud.kill_conductor()
        await cloud.clock.sleep(_LIMIT + 1.0)
        assert not world.copying.active
        assert world.hosts["h1"].guests[cloud.uuid("busy")].state is guest.GuestState.RUNNING
        await cloud.start_conductor()
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "deadline")
        await invariants.come_to_hold(cloud, before)


async def test_a_person_is_faster(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Aborted by a person before the deadline: the reason is the person's."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(_LIMIT - 2.0)
        assert (await asking.abort(cloud, "busy")).status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "requested")


async def test_the_copy_ends_as_it_fires(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The guest is in its switch-over when the deadline comes: it completes, whichever of the two was meant."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        hand = simulated.Disturbances(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        running = await asking.until_status(cloud, "busy", Status.RUNNING)
        # What is left is sent slowly enough to be on its way when the time is over.
        await cloud.clock.sleep(_LIMIT - 0.1 - _seconds(running, cloud.clock.now()))
        hand.on_step("busy", "switch_over", lambda: hand.change_link("h1", mib_per_s=1.0))
        world.copying.tune(world.copying.active[cloud.uuid("busy")], downtime_ms=60_000, bandwidth_mib_per_s=None)
        record = await asking.until_ended(cloud, "busy")
        assert record.status in (Status.COMPLETED, Status.CANCELLED)
        await invariants.come_to_hold(cloud, before)
