# SPDX-License-Identifier: Apache-2.0
"""A server is migrated while it is off, then confirmed or taken back: what the API shows, what the hosts have, what is told."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest, moving
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Status = asking.Status
_S = guest.GuestState


async def test_a_server_is_migrated_and_confirmed(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It is off for the move only, and waits as VERIFY_RESIZE with the parts of both hosts kept and counted."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        record = await moving.moved(cloud, "g2")
        assert (record.migration_type, record.source_compute, record.dest_compute) == ("migration", "h1", "h2")
        assert await moving.states_of(cloud, "g2") == ("VERIFY_RESIZE", None, "h2")
        assert (moving.state_at(cloud, "h1", "g2"), moving.state_at(cloud, "h2", "g2")) == (_S.SHUT_OFF, _S.RUNNING)
        await invariants.come_to_hold(cloud, before)
        assert await moving.events(cloud, "g2") == [
            ("conductor_migrate_server", "control", "Success"),
            ("cold_migrate", "control", "Success"),
            ("compute_prep_resize", "h2", "Success"),
            ("compute_resize_instance", "h1", "Success"),
            ("compute_finish_resize", "h2", "Success"),
        ]
        ended = await moving.settled(cloud, "g2", "confirmResize")
        assert ended.status is Status.CONFIRMED
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h2")
        assert moving.at(cloud, "h1", "g2") is None
        # Found there, so nobody's to delete.
        assert cloud.world.hosts["h1"].has_file("/own/g2.raw")
        assert await moving.events(cloud, "g2") == [("compute_confirm_resize", "h1", "Success")]
        await invariants.come_to_hold(cloud, before)


async def test_a_server_goes_back(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Reverted, it runs at its source as before, and nothing of it is left at the destination."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        ended = await moving.settled(cloud, "g2", "revertResize")
        assert ended.status is Status.REVERTED
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h1")
        assert (moving.state_at(cloud, "h1", "g2"), moving.at(cloud, "h2", "g2")) == (_S.RUNNING, None)
        assert await moving.events(cloud, "g2") == [
            ("compute_revert_resize", "h2", "Success"),
            ("compute_finish_revert_resize", "h1", "Success"),
        ]
        assert invariants.snapshot(cloud.world) == before
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("action", ["confirmResize", "revertResize"])
async def test_a_server_that_is_off_stays_off(make_cloud: clouds.MakeCloud, world: simulated.World, action: str) -> None:
    """Neither the move nor its end starts it."""
    async with make_cloud(moving.with_two_disks(world, state=_S.SHUT_OFF)) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        assert moving.state_at(cloud, "h2", "g2") is _S.SHUT_OFF
        await moving.settled(cloud, "g2", action)
        host = "h2" if action == "confirmResize" else "h1"
        assert await moving.states_of(cloud, "g2") == ("SHUTOFF", None, host)
        await invariants.come_to_hold(cloud, before)


async def test_a_disk_that_wherry_made_goes_with_the_guest(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Moved on from a host to which we brought it, a confirmed guest leaves nothing behind there."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        await moving.settled(cloud, "g2", "confirmResize")
        await moving.moved(cloud, "g2", "h3")
        await moving.settled(cloud, "g2", "confirmResize")
        assert not cloud.world.hosts["h2"].has_file("/own/g2.raw")
        assert cloud.world.hosts["h3"].has_file("/own/g2.raw")
        # The first host's own file is in the way of its return, and is named.
        refused = await moving.act(cloud, "g2", "migrate", {"host": "h1"})
        assert refused.status_code == 400 and "/own/g2.raw" in refused.text
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h3")
        await invariants.come_to_hold(cloud, before)


async def test_a_guest_that_does_not_heed_is_powered_off_in_its_time(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """After the configured time, which the event tells."""
    options = {"shutdown_timeout_seconds": 20.0}
    async with make_cloud(moving.with_two_disks(world, shutdown_seconds=None), conductor=options) as cloud:
        before = invariants.snapshot(cloud.world)
        began = cloud.clock.monotonic()
        record = await moving.moved(cloud, "g2")
        assert 20.0 <= cloud.clock.monotonic() - began < 40.0
        action = await asking.action_of(cloud, "g2", (await cloud.store.read(lambda uow: uow.operations.get(record.uuid))).request_id)
        (told,) = [event.details for event in action.events if event.name == "compute_resize_instance"]
        assert told is not None and "powered off" in told
        await invariants.come_to_hold(cloud, before)


async def test_no_destination_is_a_400_with_the_cause(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The answer comes after the checks: nothing was touched, and each host's reason is named."""
    for host in ("h2", "h3"):
        world.hosts[host].bridges = frozenset()
    interfaces = (guest.Interface(kind="bridge", name="br0"),)
    async with make_cloud(moving.with_two_disks(world, interfaces=interfaces)) as cloud:
        before = invariants.snapshot(cloud.world)
        answer = await moving.act(cloud, "g2", "migrate")
        assert answer.status_code == 400
        assert "br0" in answer.text and "h2" in answer.text
        record = await moving.until_resting(cloud, "g2")
        assert record.status is Status.ERROR
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h1")
        assert invariants.snapshot(cloud.world) == before
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(
    ("host", "status", "said"),
    [("h1", 400, "h1"), ("nowhere", 400, "nowhere")],
)
async def test_a_named_host_that_cannot_be(make_cloud: clouds.MakeCloud, world: simulated.World, host: str, status: int, said: str) -> None:
    """Its own host, or none at all: refused before anything is recorded."""
    async with make_cloud(world) as cloud:
        answer = await moving.act(cloud, "g1", "migrate", {"host": host})
        assert (answer.status_code, said in answer.text) == (status, True)
        assert await asking.migrations_of(cloud, "g1") == []


async def test_what_may_be_asked_in_which_state(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Neither confirmed nor reverted without a move; nothing else while it waits."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        for action in ("confirmResize", "revertResize"):
            assert (await moving.act(cloud, "g2", action)).status_code == 409
        await moving.moved(cloud, "g2")
        for action, body in (("migrate", None), ("resize", {"flavorRef": "2"}), ("os-stop", None), ("pause", None)):
            assert (await moving.act(cloud, "g2", action, body)).status_code == 409, action
        assert (await cloud.live_migrate("g2")).status_code == 409
        # Taken back and confirmed at once: the one that comes second finds the first.
        assert (await moving.act(cloud, "g2", "revertResize")).status_code == 202
        assert (await moving.act(cloud, "g2", "confirmResize")).status_code == 409
        assert (await moving.until_resting(cloud, "g2", Status.REVERTED)).status is Status.REVERTED


async def test_it_is_confirmed_by_itself_when_its_time_is_over(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Not before, and told as an action of its own."""
    async with make_cloud(moving.with_two_disks(world), DEFAULT={"resize_confirm_window": 300}) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        await cloud.clock.sleep(250.0)
        assert (await asking.migration_of(cloud, "g2")).status is Status.FINISHED
        await cloud.clock.sleep(100.0)
        assert (await moving.until_resting(cloud, "g2")).status is Status.CONFIRMED
        assert await moving.events(cloud, "g2") == [("compute_confirm_resize", "h1", "Success")]
        await invariants.come_to_hold(cloud, before)


async def test_the_way_back_needs_its_source(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A source whose guest somebody started, or that lost it, leaves the guest where it is, running; it can be asked again."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        kept = cloud.world.hosts["h1"].guests.pop(cloud.uuid("g2"))
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.FINISHED
        assert await moving.states_of(cloud, "g2") == ("VERIFY_RESIZE", None, "h2")
        assert moving.state_at(cloud, "h2", "g2") is _S.RUNNING
        assert [event[2] for event in await moving.events(cloud, "g2")] == ["Error"]
        cloud.world.hosts["h1"].guests[cloud.uuid("g2")] = kept
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.REVERTED
        await invariants.come_to_hold(cloud, before)


async def test_a_source_that_cannot_start_its_guest_again(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The guest is started where it was before the way back, and waits on."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.moved(cloud, "g2")
        cloud.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="start_guest", host="h1", nth=0))
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.FINISHED
        assert (moving.state_at(cloud, "h1", "g2"), moving.state_at(cloud, "h2", "g2")) == (_S.SHUT_OFF, _S.RUNNING)
        assert await moving.states_of(cloud, "g2") == ("VERIFY_RESIZE", None, "h2")
        cloud.world.faults.clear()
        assert (await moving.settled(cloud, "g2", "confirmResize")).status is Status.CONFIRMED
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(
    ("host", "method"),
    [("h2", "prepare_arrival"), ("h1", "retire_guest"), ("h1", "send_disks"), ("h2", "receive_guest"), ("h2", "start_guest")],
)
async def test_a_move_that_fails_is_undone(make_cloud: clouds.MakeCloud, world: simulated.World, host: str, method: str) -> None:
    """Whichever stage fails for good, the guest runs at its source as before, and the destination has nothing of it."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        fault = simulated.CallFault(kind=simulated.FaultKind.RAISE, method=method, host=host, nth=0)
        cloud.world.faults.add(fault)
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
        record = await moving.until_resting(cloud, "g2")
        assert record.status is Status.FAILED and record.reason is not None
        assert await moving.states_of(cloud, "g2") == ("ACTIVE", None, "h1")
        assert invariants.snapshot(cloud.world) == before
        await invariants.come_to_hold(cloud, before)


async def test_a_reset_of_the_state_gives_the_move_up(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """While its disks are sent: the guest runs at its source again."""
    world.hosts["h1"].uplink.mib_per_s = 10.0
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202
        await cloud.until(lambda: moving.state_at(cloud, "h1", "g2") is _S.SHUT_OFF)
        assert await moving.states_of(cloud, "g2") == ("RESIZE", "resize_migrating", "h1")
        await cloud.clock.sleep(20.0)
        assert (await moving.act(cloud, "g2", "os-resetState", {"state": "active"})).status_code == 202
        record = await moving.until_resting(cloud, "g2")
        assert record.status is Status.CANCELLED
        await invariants.come_to_hold(cloud, before)


async def test_progress_of_the_disks_is_shown(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Counters grow while they are sent."""
    world.hosts["h1"].uplink.mib_per_s = 10.0
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        assert (await moving.act(cloud, "g2", "migrate", {"host": "h2"})).status_code == 202

        async def has_begun() -> bool:
            found = (await asking.migration_of(cloud, "g2")).progress
            return found is not None and 0 < found.disk_remaining_bytes < found.disk_total_bytes == 1 << 30

        await cloud.until(has_begun)
        record = await asking.migration_of(cloud, "g2")
        path = asking.server_path(cloud, "g2", f"/migrations/{record.id}")
        shown = await cloud.request("GET", path, version="2.104")
        text = f"Migration {record.id} for server {cloud.uuid('g2')} is not live-migration. Ask at microversion 2.1000"
        assert shown.status_code == 404 and shown.json()["itemNotFound"]["message"].startswith(text)
        shown = await cloud.request("GET", path, version="2.1000")
        assert shown.json()["migration"]["disk_total_bytes"] == 1 << 30
        await moving.until_resting(cloud, "g2", Status.FINISHED)


async def test_two_moves_do_not_both_take_the_last_room(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """What a resize will take is claimed where it goes; what is kept is claimed where it came from."""
    world.hosts["h2"].memory_mib = 2048 + 512
    world.hosts["h3"].memory_mib = 600
    world.add_guest("h1", "g3", memory_mib=1024, disks=(conftest.disk("/shared/g3.raw"),))
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        assert (await moving.resized(cloud, "g2", "c1-m2048-d1")).dest_compute == "h2"
        refused = await moving.act(cloud, "g3", "migrate")
        assert refused.status_code == 400 and "memory" in refused.text.lower()
        await moving.settled(cloud, "g2", "revertResize")
        assert (await moving.moved(cloud, "g3", None)).dest_compute == "h2"
        await invariants.come_to_hold(cloud, before)
