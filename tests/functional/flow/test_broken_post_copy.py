# SPDX-License-Identifier: Apache-2.0
"""A post-copy that loses its connection: mended without anybody, at once when asked, or given up with both sides kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest, migration
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
_FAILED = guest.GuestState.POST_COPY_FAILED
_OPTIONS = {"live_migration_completion_timeout": 0, "live_migration_permit_post_copy": True}


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `busy` of 8 GiB whose copy never ends by itself."""
    world.add_guest("h1", "busy", memory_mib=8192, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    return world


async def _act(cloud: clouds.Cloud, action: str, version: str = "2.1000") -> Any:
    record = await asking.migration_of(cloud, "busy")
    path = asking.server_path(cloud, "busy", f"/migrations/{record.id}/action")
    return await cloud.request("POST", path, version=version, json={action: None})


async def _in_post_copy(cloud: clouds.Cloud) -> None:
    assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
    await asking.until_status(cloud, "busy", Status.RUNNING)
    await cloud.clock.sleep(5.0)
    assert (await _act(cloud, "force_complete")).status_code == 202
    await asking.until_status(cloud, "busy", Status.POST_COPY)


async def _broken(cloud: clouds.Cloud, world: simulated.World) -> migration.Migration:
    """Break it, with the link gone; wait until the record says so."""
    await _in_post_copy(cloud)
    simulated.Disturbances(world).cut_link("h2")
    simulated.Disturbances(world).break_post_copy(cloud.uuid("busy"))

    async def is_told() -> migration.Migration | None:
        record = await asking.migration_of(cloud, "busy")
        return record if record.reason is not None and record.reason.slug == "post_copy_broken" else None

    record: migration.Migration = await cloud.until(is_told, seconds=30)
    assert record.status is Status.POST_COPY
    return record


def _states(cloud: clouds.Cloud, world: simulated.World) -> list[guest.GuestState]:
    return [world.hosts[host].guests[cloud.uuid("busy")].state for host in ("h1", "h2")]


@pytest.mark.parametrize("is_killed", [False, True], ids=["", "agent-killed"])
async def test_it_is_mended_by_itself_once_the_link_is_back(make_cloud: clouds.MakeCloud, world: simulated.World, is_killed: bool) -> None:
    """Also by an agent that was not there when it broke."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        await _broken(cloud, world)
        if is_killed:
            cloud.kill_agent("h1")
            await cloud.start_agent("h1")
        await cloud.clock.sleep(60.0)
        assert _states(cloud, world) == [_FAILED, _FAILED]
        simulated.Disturbances(world).restore_link("h2")
        record = await asking.until_ended(cloud, "busy", seconds=60)
        assert (record.status, record.reason) == (Status.COMPLETED, None)
        request_id = (await cloud.store.read(lambda uow: uow.operations.get(record.uuid))).request_id
        story = await asking.action_of(cloud, "busy", request_id)
        (details,) = [event.details for event in story.events if event.name == "compute_live_migration"]
        assert details is not None
        assert "post-copy lost its connection" in details
        assert "no route to host" in details
        assert "flows again" in details
        await invariants.come_to_hold(cloud, before)


async def test_it_is_mended_each_time_that_it_breaks(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world, libvirt=_OPTIONS, agent={"post_copy_resume_initial_seconds": 0.2}) as cloud:
        before = invariants.snapshot(world)
        await _in_post_copy(cloud)
        for _ in range(3):
            simulated.Disturbances(world).break_post_copy(cloud.uuid("busy"))
            assert _states(cloud, world) == [_FAILED, _FAILED]
            await cloud.clock.sleep(1.0)
            assert _states(cloud, world) == [guest.GuestState.POST_COPY] * 2
        assert (await asking.until_ended(cloud, "busy", seconds=60)).status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_its_resumption_is_tried_at_once_when_asked_for(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    pauses = {"post_copy_resume_initial_seconds": 1000, "post_copy_resume_max_seconds": 1000}
    async with make_cloud(world, libvirt=_OPTIONS, agent=pauses) as cloud:
        before = invariants.snapshot(world)
        await _broken(cloud, world)
        simulated.Disturbances(world).restore_link("h2")
        await cloud.clock.sleep(100.0)
        assert _states(cloud, world) == [_FAILED, _FAILED]
        answer = await _act(cloud, "resume_post_copy")
        assert answer.status_code == 202
        assert (await asking.until_ended(cloud, "busy", seconds=60)).status is Status.COMPLETED
        told = await asking.events_of(cloud, "busy", answer.headers["x-openstack-request-id"])
        assert told == [("compute_live_migration_resume_post_copy", "h1", "Success")]
        await invariants.come_to_hold(cloud, before)


async def test_given_up_it_ends_in_error_and_both_sides_are_kept(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Nothing is tried any more, not even with the link back, nor by the next agent."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        await _broken(cloud, world)
        answer = await _act(cloud, "give_up")
        assert answer.status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "post_copy_given_up")
        assert (await cloud.server("busy"))["status"] == "ERROR"
        told = await asking.events_of(cloud, "busy", answer.headers["x-openstack-request-id"])
        assert told == [("compute_live_migration_give_up", "h1", "Success")]
        simulated.Disturbances(world).restore_link("h2")
        cloud.kill_agent("h1")
        await cloud.start_agent("h1")
        await cloud.clock.sleep(300.0)
        assert _states(cloud, world) == [_FAILED, _FAILED]


@pytest.mark.parametrize("action", ["resume_post_copy", "give_up"])
async def test_one_that_is_not_broken_is_left_alone(make_cloud: clouds.MakeCloud, world: simulated.World, action: str) -> None:
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        await _in_post_copy(cloud)
        assert (await _act(cloud, action)).status_code == 409
        assert (await _act(cloud, action, "2.90")).status_code in (400, 404)
        assert (await asking.until_ended(cloud, "busy", seconds=60)).status is Status.COMPLETED


async def test_the_switch_waits_for_a_link_that_sends(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It cannot be taken back: over a dead link the guest would stand still at its destination."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(5.0)
        simulated.Disturbances(world).cut_link("h2")
        await cloud.clock.sleep(5.0)
        assert (await _act(cloud, "force_complete")).status_code == 202
        await cloud.clock.sleep(30.0)
        assert (await asking.migration_of(cloud, "busy")).status is Status.RUNNING
        assert world.hosts["h1"].guests[cloud.uuid("busy")].state is guest.GuestState.RUNNING
        simulated.Disturbances(world).restore_link("h2")
        await asking.until_status(cloud, "busy", Status.POST_COPY, seconds=5)
        record = await asking.until_ended(cloud, "busy", seconds=60)
        request_id = (await cloud.store.read(lambda uow: uow.operations.get(record.uuid))).request_id
        details = [event.details or "" for event in (await asking.action_of(cloud, "busy", request_id)).events]
        assert any("nothing is being sent" in one for one in details)
        await invariants.come_to_hold(cloud, before)


async def test_a_switch_that_cannot_keep_its_bound_becomes_an_abort(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world, libvirt=_OPTIONS | {"live_migration_max_post_copy_seconds": 0.01}) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(5.0)
        assert (await _act(cloud, "force_complete")).status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "max_post_copy")
        await invariants.come_to_hold(cloud, before)
