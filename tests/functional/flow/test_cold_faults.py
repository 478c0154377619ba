# SPDX-License-Identifier: Apache-2.0
"""Cold migrations whose messages are lost or doubled, whose undo is struck too, and whose hosts stay away."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from tests.functional.flow import asking, conftest, moving
from wherry.drivers import simulated
from wherry.model import guest, operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal, virtual_time

pytestmark = pytest.mark.virtual_time(limit_seconds=72000)

Status = asking.Status
_S = guest.GuestState
_THERE = ("DescribeGuest", "PrepResize", "CheckDeparture", "PrepareArrival", "ShutDownGuest", "MoveGuest", "FinishResize")
_MESSAGES = {
    "migrate": ("MigrateServer", *_THERE),
    "confirmResize": ("OperationRecorded", "DescribeGuest", "ConfirmSource", "ConfirmDestination"),
    "revertResize": ("OperationRecorded", "CheckReturn", "ShutDownGuest", "RevertResize", "FinishRevertResize", "DiscardArrival"),
}
_ENDS = {"migrate": Status.FINISHED, "confirmResize": Status.CONFIRMED, "revertResize": Status.REVERTED}
_QUICK = {"conductor": {"shutdown_timeout_seconds": 5.0, "move_poll_interval_seconds": 0.5}, "bus": {"rpc_response_timeout_seconds": 5.0}}


@pytest.mark.parametrize("fate", [mortal.Fate.LOST, mortal.Fate.DOUBLED], ids=["lost", "doubled"])
@pytest.mark.parametrize("asked", list(_MESSAGES))
async def test_each_message_may_be_lost_or_doubled(tmp_path: pathlib.Path, asked: str, fate: mortal.Fate) -> None:
    """What was asked for is done all the same; a check without an answer refuses its destination."""
    for name in _MESSAGES[asked]:
        directory = tmp_path / name
        directory.mkdir()
        world = moving.with_two_disks(conftest.three_hosts())
        async with clouds.Cloud(world, directory, clock=virtual_time.virtual_clock(), overrides=_QUICK) as cloud:
            before = invariants.snapshot(cloud.world)
            if asked != "migrate":
                await moving.moved(cloud, "g2")
            asking.at_message(cloud, name, lambda: fate)
            answer = await moving.act(cloud, "g2", asked, {"host": "h2"} if asked == "migrate" else None)
            is_refused = name in ("DescribeGuest", "PrepResize", "CheckDeparture") and fate is mortal.Fate.LOST and asked == "migrate"
            assert answer.status_code in (202, 204) or (is_refused and answer.status_code == 400), (name, answer.text)
            await invariants.come_to_hold(cloud, before)
            status = (await asking.migration_of(cloud, "g2")).status
            assert status in ({_ENDS[asked], Status.ERROR} if is_refused else {_ENDS[asked]}), (name, status)


@pytest.mark.parametrize("strike", ["conductor", "h2 discard_guest", "h1 restore_guest", "h1 start_guest"])
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
async def test_the_undo_is_struck_too(make_cloud: clouds.MakeCloud, world: simulated.World, strike: str, is_done: bool) -> None:
    """A destination that does not start the guest, and then a death in the undo: the guest runs at its source as before."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        before = invariants.snapshot(cloud.world)
        cloud.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="start_guest", host="h2", nth=0))
        died = asyncio.Event()

        def kill(_conductor_id: str = "") -> None:
            if strike == "conductor":
                cloud.kill_conductor()
            else:
                cloud.kill_agent(strike.split(maxsplit=1)[0])
            died.set()

        if strike == "conductor":
            asking.at_step(cloud, operation.StepName.DONE if is_done else operation.StepName.ROLL_BACK, kill)
        else:
            host, method = strike.split()
            asking.at_call(cloud, host, method, kill, is_done=is_done)
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
        await died.wait()
        await cloud.clock.sleep(2.5)
        if strike == "conductor":
            await cloud.start_conductor()
        else:
            await cloud.start_agent(strike.split(maxsplit=1)[0])
        assert (await moving.until_resting(cloud, "g2")).status is Status.FAILED
        assert invariants.snapshot(cloud.world) == before
        await invariants.come_to_hold(cloud, before)


async def test_a_destination_that_may_run_the_guest_is_waited_for(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Silence is not absence: until an operator calls it dead the source does not start its guest; then it does, and the rest is owed."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        before = invariants.snapshot(cloud.world)
        asking.at_call(cloud, "h2", "start_guest", lambda: cloud.kill_agent("h2"), is_done=True)
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
        await cloud.until(lambda: moving.state_at(cloud, "h2", "g2") is _S.RUNNING)
        await cloud.clock.sleep(120.0)
        assert moving.state_at(cloud, "h1", "g2") is _S.SHUT_OFF
        assert (await asking.migration_of(cloud, "g2")).status is Status.POST_MIGRATING
        # An operator saw to it that the host is dead, and says so.
        simulated.Disturbances(cloud.world).power_off("h2")
        await asking.force_down(cloud, "h2")
        assert (await moving.until_resting(cloud, "g2")).status is Status.FAILED
        assert (moving.state_at(cloud, "h1", "g2"), await moving.states_of(cloud, "g2")) == (_S.RUNNING, ("ACTIVE", None, "h1"))
        await asking.force_down(cloud, "h2", is_down=False)
        simulated.Disturbances(cloud.world).start_daemon("h2")
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before)
        assert invariants.snapshot(cloud.world) == before


async def test_a_source_that_is_away_is_owed_its_clearing(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A confirmation does not wait for it; what it keeps goes on counting there until it is gone."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        cloud.kill_agent("h1")
        assert (await moving.settled(cloud, "g2", "confirmResize")).status is Status.CONFIRMED
        assert moving.state_at(cloud, "h1", "g2") is _S.SHUT_OFF
        kept = await cloud.store.read(lambda uow: uow.hosts.get("h1"))
        assert kept.usage.memory_mib == 1024 + 1024, "that of g1, and what is kept of g2"
        await cloud.start_agent("h1")
        await invariants.come_to_hold(cloud, before)
        assert moving.at(cloud, "h1", "g2") is None


async def test_a_confirmation_gives_nothing_up_whose_destination_has_lost_the_guest(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    """What the source keeps is the only copy then: it is kept, and can be gone back to."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        del cloud.world.hosts["h2"].guests[cloud.uuid("g2")]
        # Inventories come and say so.
        await cloud.clock.sleep(300.0)
        assert await moving.states_of(cloud, "g2") == ("VERIFY_RESIZE", None, "h2")
        assert (await moving.settled(cloud, "g2", "confirmResize")).status is Status.FINISHED
        assert moving.state_at(cloud, "h1", "g2") is _S.SHUT_OFF
        assert [event[2] for event in await moving.events(cloud, "g2")] == ["Error"]
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.REVERTED
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h1")
        await invariants.come_to_hold(cloud, before)


async def test_a_reset_server_can_still_be_settled(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A reset takes the state away, not what the source keeps; and while it keeps that, somebody's start of it moves no record."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        assert (await moving.act(cloud, "g2", "os-resetState", {"state": "error"})).status_code == 202
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.REVERTED
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h1")
        await invariants.come_to_hold(cloud, before)


async def test_what_a_source_keeps_is_not_taken_for_the_server(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Somebody stops the guest where it is and starts it where it is only kept: no record moves, and nothing is given up."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        await moving.moved(cloud, "g2")
        simulated.Disturbances(cloud.world).destroy_guest("h2", cloud.uuid("g2"))
        kept = moving.at(cloud, "h1", "g2")
        assert kept is not None
        kept.state = _S.RUNNING
        await cloud.clock.sleep(300.0)
        assert await moving.states_of(cloud, "g2") == ("VERIFY_RESIZE", None, "h2")
        for action in ("confirmResize", "revertResize"):
            assert (await moving.settled(cloud, "g2", action)).status is Status.FINISHED
        assert (moving.state_at(cloud, "h1", "g2"), moving.state_at(cloud, "h2", "g2")) == (_S.RUNNING, _S.SHUT_OFF)


async def test_a_reset_server_moves_on_only_when_its_last_move_is_settled(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Two hosts have a part of it, whatever its state says: a third would be one too many."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        assert (await moving.act(cloud, "g2", "os-resetState", {"state": "active"})).status_code == 202
        for answer in (
            await cloud.live_migrate("g2"),
            await moving.act(cloud, "g2", "migrate"),
            await moving.act(cloud, "g2", "resize", {"flavorRef": "2"}),
        ):
            assert answer.status_code == 409 and "confirmResize or revertResize" in answer.text
        assert (await moving.settled(cloud, "g2", "confirmResize")).status is Status.CONFIRMED
        assert (await moving.moved(cloud, "g2", "h3")).dest_compute == "h3"
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.REVERTED
        await invariants.come_to_hold(cloud, before)


async def test_a_guest_that_was_asked_to_go_down_stays_up_after_the_undo(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It heeds late, was powered off meanwhile, and was started again: what it was asked before that does not reach it any more."""
    options = {"conductor": {"shutdown_timeout_seconds": 3.0}}
    async with make_cloud(moving.with_two_disks(world, shutdown_seconds=8.0), **options) as cloud:
        before = invariants.snapshot(cloud.world)
        cloud.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="send_disks", host="h1", nth=0))
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
        assert (await moving.until_resting(cloud, "g2")).status is Status.FAILED
        await cloud.clock.sleep(60.0)
        assert moving.state_at(cloud, "h1", "g2") is _S.RUNNING
        await invariants.come_to_hold(cloud, before)
