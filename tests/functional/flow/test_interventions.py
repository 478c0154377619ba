# SPDX-License-Identifier: Apache-2.0
"""What people do to a migration under way beside aborting it: force it to complete, reset the server, lock it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import operation, server
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
_FORCE = "compute_live_migration_force_complete"
_ABORT = "compute_live_migration_abort"
_NO_DEADLINE = {"live_migration_completion_timeout": 0}


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `busy` of 2 GiB whose copy never ends by itself."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    return world


async def _force(cloud: clouds.Cloud) -> Any:
    record = await asking.migration_of(cloud, "busy")
    path = asking.server_path(cloud, "busy", f"/migrations/{record.id}/action")
    return await cloud.request("POST", path, version="2.80", json={"force_complete": None})


async def _act(cloud: clouds.Cloud, action: str, value: Any = None) -> Any:
    return await cloud.request("POST", asking.server_path(cloud, "busy", "/action"), json={action: value})


async def _running(cloud: clouds.Cloud) -> None:
    assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
    await asking.until_status(cloud, "busy", Status.RUNNING)
    await cloud.clock.sleep(5.0)


async def _events(cloud: clouds.Cloud, answer: Any) -> list[tuple[str, str, str]]:
    return await asking.events_of(cloud, "busy", answer.headers["x-openstack-request-id"])


@pytest.mark.parametrize("is_post_copy", [False, True], ids=["by-pause", "by-post-copy"])
async def test_a_copy_that_never_ends_is_forced_to(make_cloud: clouds.MakeCloud, world: simulated.World, is_post_copy: bool) -> None:
    async with make_cloud(world, libvirt=_NO_DEADLINE | {"live_migration_permit_post_copy": is_post_copy}) as cloud:
        before = invariants.snapshot(world)
        taken: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: taken.append(method) if is_done else None)
        await _running(cloud)
        answer = await _force(cloud)
        assert answer.status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=120)
        assert (record.status, (await cloud.server("busy"))["OS-EXT-SRV-ATTR:host"]) == (Status.COMPLETED, "h2")
        assert ("start_post_copy" in taken, "pause_guest" in taken) == (is_post_copy, not is_post_copy)
        assert await _events(cloud, answer) == [(_FORCE, "h1", "Success")]
        assert (await _force(cloud)).status_code == 409
        await invariants.come_to_hold(cloud, before)


async def test_an_abort_beats_a_force(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Asked for in the same moment; the force's event says that it came to nothing."""
    async with make_cloud(world, libvirt=_NO_DEADLINE) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        answer = await _force(cloud)
        assert (answer.status_code, (await asking.abort(cloud, "busy")).status_code) == (202, 202)
        assert (await asking.until_ended(cloud, "busy", seconds=120)).status is Status.CANCELLED
        assert await _events(cloud, answer) == [(_FORCE, "h1", "Error")]
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("is_by_deadline", [False, True], ids=["by-request", "by-deadline"])
async def test_a_force_that_was_applied_and_then_overruled_says_so(
    make_cloud: clouds.MakeCloud, world: simulated.World, is_by_deadline: bool
) -> None:
    """The guest was paused, and then the migration was aborted: its event tells both, as the migration's own do."""
    simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 5}) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        forced = await _force(cloud)
        await cloud.clock.sleep(2.0)
        aborted = None if is_by_deadline else await asking.abort(cloud, "busy")
        assert (await asking.until_ended(cloud, "busy", seconds=120)).status is Status.CANCELLED
        ids = [one.headers["x-openstack-request-id"] for one in (forced, aborted) if one is not None]
        (event,) = (await asking.action_of(cloud, "busy", ids[0])).events
        assert event.details is not None
        assert "before the force-complete" not in event.details
        overruled = "deadline: abort after 10.0" if is_by_deadline else f"requested {ids[1]}: abort after 7."
        assert f"It was applied, and the migration ended as cancelled: requested {ids[0]}: pause the guest after 5." in event.details
        assert f"; then {overruled}" in event.details
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("at", [Status.ACCEPTED, Status.QUEUED, Status.PREPARING, Status.RUNNING])
async def test_a_reset_ends_the_task_at_once_and_the_migration_soon(
    make_cloud: clouds.MakeCloud, world: simulated.World, at: Status
) -> None:
    steps = {
        Status.ACCEPTED: operation.StepName.CHECK_DESTINATION,
        Status.QUEUED: operation.StepName.ADMIT,
        Status.PREPARING: operation.StepName.PREPARE,
    }
    async with make_cloud(world, libvirt=_NO_DEADLINE) as cloud:
        before = invariants.snapshot(world)
        if at is Status.RUNNING:
            await _running(cloud)
        else:
            reached: list[str] = []
            asking.at_step(cloud, steps[at], reached.append)
            assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
            await cloud.until(lambda: reached)
        answer = await _act(cloud, "os-resetState", {"state": "active"})
        assert answer.status_code == 202
        shown = await cloud.server("busy")
        assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
        record = await asking.until_ended(cloud, "busy", seconds=60)
        assert record.status is Status.CANCELLED
        assert await _events(cloud, answer) == [(_ABORT, "h1", "Success")]
        shown = await cloud.server("busy")
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", "h1", None)
        await invariants.come_to_hold(cloud, before)
        # It may be moved again.
        assert (await cloud.live_migrate("busy", host="h3")).status_code == 202


async def test_a_reset_in_post_copy_comes_too_late_and_the_record_follows_the_guest(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    async with make_cloud(world, libvirt=_NO_DEADLINE | {"live_migration_permit_post_copy": True}) as cloud:
        before = invariants.snapshot(world)
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        await _running(cloud)
        assert (await _force(cloud)).status_code == 202
        await asking.until_status(cloud, "busy", Status.POST_COPY)
        answer = await _act(cloud, "os-resetState", {"state": "active"})
        assert answer.status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=600)
        assert record.status is Status.COMPLETED
        assert await _events(cloud, answer) == [(_ABORT, "h1", "Error")]
        assert (await cloud.server("busy"))["OS-EXT-SRV-ATTR:host"] == "h2"
        await invariants.come_to_hold(cloud, before)


async def test_a_lock_in_mid_migration_stops_nothing(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        assert (await _act(cloud, "lock")).status_code == 202
        manager = "maria:admin:manager"
        record = await asking.migration_of(cloud, "busy")
        path = asking.server_path(cloud, "busy", f"/migrations/{record.id}")
        assert (await cloud.request("DELETE", path, token=manager)).status_code == 409
        assert (await cloud.request("DELETE", path)).status_code == 202
        assert (await asking.until_ended(cloud, "busy", seconds=60)).status is Status.CANCELLED
        found = await cloud.store.read(lambda uow: uow.servers.get(cloud.uuid("busy")))
        assert (found.locked_by, found.task_state, found.vm_state) == ("owner", None, server.VmState.ACTIVE)
        await invariants.come_to_hold(cloud, before)


async def test_a_host_is_forgotten_once_nothing_is_left_of_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """409 while a migration goes there and while the server is there; its stopped agent does not bring it back."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)

        async def delete(host: str) -> int:
            listed = (await cloud.request("GET", f"/v2.1/os-services?host={host}")).json()["services"]
            return int((await cloud.request("DELETE", f"/v2.1/os-services/{listed[0]['id']}")).status_code)

        await _running(cloud)
        assert (await delete("h1"), await delete("h2")) == (409, 409)
        assert (await asking.abort(cloud, "busy")).status_code == 202
        await asking.until_ended(cloud, "busy", seconds=60)
        await invariants.come_to_hold(cloud, before)
        await cloud.stop_agent("h2")
        assert await delete("h2") == 204
        await cloud.clock.sleep(120.0)
        services = (await cloud.request("GET", "/v2.1/os-services")).json()["services"]
        assert [one["host"] for one in services] == ["h1", "h3"]
