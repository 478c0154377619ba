# SPDX-License-Identifier: Apache-2.0
"""Aborts: in each status, at each version, twice, too late."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.db import uow as uows
from wherry.drivers import simulated
from wherry.model import instance_actions, operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
Step = operation.StepName
_ABORT = "compute_live_migration_abort"


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `busy` whose copy never ends by itself, and a disk of its own to be copied."""
    disks = (conftest.disk("/shared/busy.raw"), conftest.disk("/own/busy.raw", name="vdb"))
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=disks)
    return world


async def _told_of(cloud: clouds.Cloud, answer: Any) -> tuple[str, str, str]:
    """Give the one event of an abort's action: its name, result and details."""
    action = await asking.action_of(cloud, "busy", answer.headers["x-openstack-request-id"])
    assert action.action == "live_migration_cancel"
    (event,) = action.events
    return event.name, event.result.value if event.result else "", event.details or ""


@pytest.mark.parametrize(("version", "code"), [("2.23", 404), ("2.24", 202), ("2.64", 202), ("2.65", 202), ("2.90", 202)])
async def test_running(make_cloud: clouds.MakeCloud, world: simulated.World, version: str, code: int) -> None:
    """202 from 2.24 on: cancelled, the guest runs on at the source, the destination is clean, and both actions tell it."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        answer = await asking.abort(cloud, "busy", version=version)
        assert answer.status_code == code
        if code != 202:
            answer = await asking.abort(cloud, "busy")
        record = await asking.until_ended(cloud, "busy", seconds=10)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.CANCELLED, "requested")
        assert (await _told_of(cloud, answer))[:2] == (_ABORT, "Success")
        assert ("compute_rollback_live_migration_at_destination", "h2", "Success") in await asking.events_of(cloud, "busy")
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(("version", "code"), [("2.24", 400), ("2.64", 400), ("2.65", 202), ("2.90", 202)])
async def test_queued(make_cloud: clouds.MakeCloud, world: simulated.World, version: str, code: int) -> None:
    """202 from 2.65 on, 400 before: it ends without having started, and nothing of it is left."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        simulated.Disturbances(world).change_link("h1", mib_per_s=20.0)
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        assert (await cloud.live_migrate("busy")).status_code == 202
        await asking.until_status(cloud, "busy", Status.QUEUED)
        answer = await asking.abort(cloud, "busy", version=version)
        assert answer.status_code == code
        if code != 202:
            assert (await asking.migration_of(cloud, "busy")).status is Status.QUEUED
            answer = await asking.abort(cloud, "busy")
        record = await asking.until_ended(cloud, "busy", seconds=2)
        assert (record.status, record.started_at) == (Status.CANCELLED, None)
        assert (await _told_of(cloud, answer))[:2] == (_ABORT, "Success")
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(("version", "code"), [("2.64", 400), ("2.65", 202)])
async def test_preparing(make_cloud: clouds.MakeCloud, world: simulated.World, version: str, code: int) -> None:
    """The destination is creating disks: what it created is removed, the source never began."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="prepare_destination", seconds=5.0))
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.PREPARING)
        answer = await asking.abort(cloud, "busy", version=version)
        assert answer.status_code == code
        if code != 202:
            answer = await asking.abort(cloud, "busy")
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.status is Status.CANCELLED
        assert (await _told_of(cloud, answer))[:2] == (_ABORT, "Success")
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("step", [Step.CHECK_DESTINATION, Step.CHECK_SOURCE])
async def test_accepted(make_cloud: clouds.MakeCloud, world: simulated.World, step: Step) -> None:
    """A person may not; Wherry itself may, when the server is deleted or reset: it ends in the middle of the checks."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        method = "check_destination" if step is Step.CHECK_DESTINATION else "check_source"
        world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method=method, seconds=5.0))
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await cloud.clock.sleep(1.0)
        record = await asking.migration_of(cloud, "busy")
        assert record.status is Status.ACCEPTED
        assert (await asking.abort(cloud, "busy")).status_code == 400

        async def intend(uow: uows.UnitOfWork) -> None:
            names = {"instance_uuid": record.instance_uuid, "user_id": "admin", "project_id": "admin"}
            await uow.actions.record(**names, request_id="req-internal", action=instance_actions.ActionName.LIVE_MIGRATION_CANCEL)
            await uow.operations.record_intent(record.uuid, operation.IntentKind.ABORT, request_id="req-internal")

        await cloud.store.run(intend)
        ended = await asking.until_ended(cloud, "busy", seconds=20)
        assert (ended.status, ended.started_at) == (Status.CANCELLED, None)
        await invariants.come_to_hold(cloud, before)


async def test_twice(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Both are taken, both actions end well, the migration is aborted once."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        answers = [await asking.abort(cloud, "busy"), await asking.abort(cloud, "busy")]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert (await asking.until_ended(cloud, "busy", seconds=10)).status is Status.CANCELLED
        for answer in answers:
            assert (await _told_of(cloud, answer))[:2] == (_ABORT, "Success")
        assert (await asking.abort(cloud, "busy")).status_code == 400
        await invariants.come_to_hold(cloud, before)


async def test_the_copy_ends_first(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """202, and then the guest has arrived: `completed`, and the abort's own event says that it came too late."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        hand = simulated.Disturbances(world)
        reached: list[str] = []
        hand.on_step("busy", "switch_over", lambda: reached.append("switch_over"))
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        # Taken by the api, and held up on its way to the agent until the copy has ended.
        cloud.kill_agent("h1")
        answer = await asking.abort(cloud, "busy")
        assert answer.status_code == 202
        hand.pause_guest("h1", cloud.uuid("busy"))
        await cloud.until(lambda: reached, seconds=60)
        await cloud.clock.sleep(1.0)
        assert cloud.uuid("busy") not in world.hosts["h1"].guests
        await cloud.start_agent("h1")
        record = await asking.until_ended(cloud, "busy", seconds=60)
        assert record.status is Status.COMPLETED
        name, result, details = await _told_of(cloud, answer)
        assert (name, result) == (_ABORT, "Error")
        assert "completed before the abort" in details
        hand.pause_guest("h2", cloud.uuid("busy"))
        await invariants.come_to_hold(cloud, before, touched=["busy"])


async def test_after_the_end_and_of_others(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """400 of one that has ended; 404 of an unknown one and of another server's."""
    async with make_cloud(world) as cloud:
        record = await asking.move(cloud, "g1")
        assert (await asking.abort(cloud, "g1")).status_code == 400
        for name, number in (("g1", "4711"), ("busy", str(record.id)), ("g1", "no-number")):
            answer = await cloud.request("DELETE", asking.server_path(cloud, name, f"/migrations/{number}"))
            assert answer.status_code == 404


async def test_while_its_source_agent_is_away(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It is delivered when the agent is back, and again to a conductor's successor."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        cloud.kill_agent("h1")
        answer = await asking.abort(cloud, "busy")
        assert answer.status_code == 202
        await cloud.clock.sleep(3.0)
        cloud.kill_conductor()
        await cloud.start_conductor()
        await cloud.clock.sleep(3.0)
        assert (await asking.migration_of(cloud, "busy")).status is Status.RUNNING
        await cloud.start_agent("h1")
        record = await asking.until_ended(cloud, "busy", seconds=30)
        assert record.status is Status.CANCELLED
        assert (await _told_of(cloud, answer))[:2] == (_ABORT, "Success")
        await invariants.come_to_hold(cloud, before)


async def test_the_nudge_of_an_abort_is_lost(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The sweep delivers it within two seconds."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        asking.at_message(cloud, "IntentRecorded", lambda: mortal.Fate.LOST)
        assert (await asking.abort(cloud, "busy")).status_code == 202
        assert (await asking.until_ended(cloud, "busy", seconds=3)).status is Status.CANCELLED
        await invariants.come_to_hold(cloud, before)
