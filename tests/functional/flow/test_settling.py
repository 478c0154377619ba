# SPDX-License-Identifier: Apache-2.0
"""What became of a transfer is read from both hosts: hosts that are silent, replies that are lost, guests that others lay hands on."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest, migration
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
_RUNNING = guest.GuestState.RUNNING
_PAUSED = guest.GuestState.PAUSED


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `slow` whose copy takes ten seconds or so."""
    disks = (conftest.disk("/shared/slow.raw"), conftest.disk("/own/slow.raw", name="vdb"))
    world.add_guest("h1", "slow", memory_mib=8192, dirty_mib_per_s=50.0, working_set_mib=64.0, disks=disks)
    return world


async def _running(cloud: clouds.Cloud, name: str = "slow") -> str:
    assert (await cloud.live_migrate(name, host="h2")).status_code == 202
    await asking.until_status(cloud, name, Status.RUNNING)
    return cloud.uuid(name)


async def _reason(cloud: clouds.Cloud, slug: str, name: str = "slow") -> migration.Migration:
    async def is_there() -> migration.Migration | None:
        record = await asking.migration_of(cloud, name)
        return record if record.reason is not None and record.reason.slug == slug else None

    found: migration.Migration = await cloud.until(is_there, seconds=200)
    return found


# ------------------------------------------------------------- silent hosts


@pytest.mark.parametrize("host", ["h1", "h2"])
async def test_a_silent_host_keeps_the_status_and_the_slot(make_cloud: clouds.MakeCloud, world: simulated.World, host: str) -> None:
    """Unreachable is never absent: the status stays, the reason names the host, and it completes after its return."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        uuid = await _running(cloud)
        simulated.Disturbances(world).on_step("slow", "arrived", lambda: cloud.kill_agent(host))
        record = await _reason(cloud, {"h1": "source_unreachable", "h2": "destination_unreachable"}[host])
        assert record.status is Status.RUNNING
        await cloud.clock.sleep(300.0)
        assert (await asking.migration_of(cloud, "slow")).status is Status.RUNNING
        assert world.hosts["h2"].guests[uuid].state is _RUNNING
        await cloud.start_agent(host)
        record = await asking.until_ended(cloud, "slow", seconds=30)
        assert (record.status, record.reason) == (Status.COMPLETED, None)
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("host", ["h1", "h2"])
async def test_a_host_that_is_forced_down_counts_as_gone(make_cloud: clouds.MakeCloud, world: simulated.World, host: str) -> None:
    """An operator's word ends the waiting: with the source dead the destination's guest is the guest; the reverse is rolled back."""
    async with make_cloud(world) as cloud:
        uuid = await _running(cloud)
        hand = simulated.Disturbances(world)

        def die() -> None:
            cloud.kill_agent(host)
            if host == "h2":
                hand.power_off("h2")

        hand.on_step("slow", "arrived" if host == "h1" else "iteration", die)
        await _reason(cloud, {"h1": "source_unreachable", "h2": "destination_unreachable"}[host])
        await cloud.store.run(lambda uow: uow.hosts.update_service(host, is_forced_down=True))
        record = await asking.until_ended(cloud, "slow", seconds=120)
        assert record.status is (Status.COMPLETED if host == "h1" else Status.FAILED)
        alive = "h2" if host == "h1" else "h1"
        assert world.hosts[alive].guests[uuid].state is _RUNNING
        shown = await cloud.server("slow")
        assert (shown["OS-EXT-SRV-ATTR:host"], shown["OS-EXT-STS:task_state"]) == (alive, None)
        # What the dead one is owed, it is given when it comes back after all.
        assert await cloud.store.read(lambda uow: uow.chores.list(host))
        hand.start_daemon(host)
        await cloud.start_agent(host)
        await invariants.at_rest(cloud, seconds=120)
        assert uuid not in world.hosts[host].guests


async def test_the_source_dies_for_good(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Its power goes in mid-copy: nothing is known until an operator calls it dead; then the guest is gone, and the destination clean."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        uuid = await _running(cloud)
        hand = simulated.Disturbances(world)
        cloud.kill_agent("h1")
        hand.power_off("h1")
        await _reason(cloud, "source_unreachable")
        await cloud.clock.sleep(300.0)
        assert (await asking.migration_of(cloud, "slow")).status is Status.RUNNING
        await cloud.store.run(lambda uow: uow.hosts.update_service("h1", is_forced_down=True))
        record = await asking.until_ended(cloud, "slow", seconds=60)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.FAILED, "guest_stopped")
        assert uuid not in world.hosts["h2"].guests
        await invariants.hold(cloud, before, touched=["slow", "g1"], is_owing=True)
        hand.start_daemon("h1")
        await cloud.start_agent("h1")
        await invariants.come_to_hold(cloud, before, touched=["slow", "g1"], seconds=120)


async def test_a_source_that_answers_again_is_not_called_silent(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The reason goes with the silence, while the copy still runs."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud, "busy")
        cloud.kill_agent("h1")
        await _reason(cloud, "source_unreachable", "busy")
        await cloud.start_agent("h1")

        async def is_gone() -> bool:
            return (await asking.migration_of(cloud, "busy")).reason is None

        await cloud.until(is_gone, seconds=40)
        assert (await asking.abort(cloud, "busy")).status_code == 202
        await invariants.come_to_hold(cloud, before)


async def test_cleaning_owed_to_a_host_is_paid_at_its_return(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The destination is away when the undo comes to it: the migration ends without it, and its files are removed at its return."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        asking.at_message(cloud, "RollBackDestination", lambda: cloud.kill_agent("h2"))
        assert (await asking.abort(cloud, "slow")).status_code == 202
        record = await asking.until_ended(cloud, "slow", seconds=200)
        assert record.status is Status.CANCELLED
        assert world.hosts["h2"].has_file("/own/slow.raw")
        await invariants.hold(cloud, before, is_owing=True)
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before, seconds=10)


# ------------------------------------------------------------- lost replies


@pytest.mark.parametrize("has_locks", [False, True], ids=["unlocked", "locked"])
async def test_the_closing_reply_is_lost(make_cloud: clouds.MakeCloud, world: simulated.World, has_locks: bool) -> None:
    """Both sides run for at most a second; the destination wins, the source is cleaned."""
    world.stores["shared"].has_locks = has_locks
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        hand = simulated.Disturbances(world)
        uuid = cloud.uuid("g2")
        hand.on_step("g2", "switch_over", lambda: hand.lose_closing_reply(uuid))
        both = 0.0
        suspended: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: suspended.append(method) if is_done and method == "pause_guest" else None)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        while (await asking.migration_of(cloud, "g2")).finished_at is None:
            states = [here.guests[uuid].state for here in world.hosts.values() if uuid in here.guests]
            both += 0.05 if states.count(_RUNNING) > 1 else 0.0
            await cloud.clock.sleep(0.05)
        record = await asking.migration_of(cloud, "g2")
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        assert both <= 1.0
        assert bool(suspended) is not has_locks
        await invariants.come_to_hold(cloud, before)


# --------------------------------------------------------------- other hands


@pytest.mark.parametrize("how", ["destroy_guest", "crash_guest"])
async def test_the_guest_is_stopped_in_mid_copy(make_cloud: clouds.MakeCloud, world: simulated.World, how: str) -> None:
    """`failed` with that reason; nothing is started again, and the destination is clean."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        uuid = await _running(cloud)
        getattr(simulated.Disturbances(world), how)("h1", uuid)
        record = await asking.until_ended(cloud, "slow", seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.FAILED, "guest_stopped")
        await invariants.come_to_hold(cloud, before, touched=["slow"])
        assert world.hosts["h1"].guests[uuid].state is guest.GuestState.SHUT_OFF
        shown = await cloud.server("slow")
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("SHUTOFF", "h1")


async def test_the_incoming_guest_is_destroyed(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Somebody destroys it at the destination in mid-copy: `failed`, it runs on at the source."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        uuid = await _running(cloud)
        simulated.Disturbances(world).destroy_guest("h2", uuid)
        record = await asking.until_ended(cloud, "slow", seconds=30)
        assert record.status is Status.FAILED
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("is_aborted", [False, True], ids=["completes", "aborted"])
async def test_the_guest_is_paused_in_mid_copy(make_cloud: clouds.MakeCloud, world: simulated.World, is_aborted: bool) -> None:
    """The record follows what both hosts show at the end; nothing of ours resumes it."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        uuid = await _running(cloud)
        called: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: called.append(method) if is_done else None)
        simulated.Disturbances(world).pause_guest("h1", uuid)
        if is_aborted:
            assert (await asking.abort(cloud, "slow")).status_code == 202
        record = await asking.until_ended(cloud, "slow", seconds=60)
        assert record.status is (Status.CANCELLED if is_aborted else Status.COMPLETED)
        assert "resume_guest" not in called
        await invariants.come_to_hold(cloud, before, touched=["slow"])
        (where,) = [name for name, here in world.hosts.items() if uuid in here.guests]
        shown = await cloud.server("slow")
        assert shown["OS-EXT-SRV-ATTR:host"] == where
        assert shown["status"] == ("PAUSED" if world.hosts[where].guests[uuid].state is _PAUSED else "ACTIVE")


@pytest.mark.parametrize("end", ["h1", "h2"])
async def test_the_link_is_cut_and_mended(make_cloud: clouds.MakeCloud, world: simulated.World, end: str) -> None:
    """The copy stalls and goes on: completed, later."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        simulated.Disturbances(world).cut_link(end, seconds=120.0)
        await cloud.clock.sleep(100.0)
        assert (await asking.migration_of(cloud, "slow")).status is Status.RUNNING
        record = await asking.until_ended(cloud, "slow", seconds=60)
        assert record.status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_the_link_is_cut_and_it_is_aborted(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """An abort needs no link."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        simulated.Disturbances(world).cut_link("h2")
        await cloud.clock.sleep(10.0)
        assert (await asking.abort(cloud, "slow")).status_code == 202
        assert (await asking.until_ended(cloud, "slow", seconds=30)).status is Status.CANCELLED
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("end", ["h1", "h2"])
async def test_a_daemon_is_killed_in_mid_copy(make_cloud: clouds.MakeCloud, world: simulated.World, end: str) -> None:
    """The copy is cancelled, the guest stays: `failed`, naming the connection when it was the source's that was lost."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        simulated.Disturbances(world).kill_daemon(end, back_after_seconds=5.0)
        record = await asking.until_ended(cloud, "slow", seconds=120)
        assert record.reason is not None
        assert record.status is Status.FAILED
        if end == "h1":
            assert record.reason.slug == "hypervisor_connection_lost"
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("end", ["h1", "h2"])
async def test_a_daemon_hangs_in_mid_copy(make_cloud: clouds.MakeCloud, world: simulated.World, end: str) -> None:
    """Nothing is concluded from silence: it completes once the daemon answers."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await _running(cloud)
        simulated.Disturbances(world).silence_daemon(end, seconds=100.0)
        await cloud.clock.sleep(90.0)
        assert (await asking.migration_of(cloud, "slow")).status is Status.RUNNING
        record = await asking.until_ended(cloud, "slow", seconds=120)
        assert record.status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_both_sides_run_and_nobody_knows_why(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A contradiction that lasts is `error` and a server in ERROR; both sides are kept as evidence."""
    async with make_cloud(world, conductor={"contradiction_grace_seconds": 5.0}) as cloud:
        uuid = await _running(cloud)
        hand = simulated.Disturbances(world)

        def copy_back() -> None:
            spec = world.hosts["h2"].guests[uuid].spec
            world.hosts["h1"].guests[uuid] = type(world.hosts["h2"].guests[uuid])(spec)

        # The source's notes are gone with its agent: nothing says that the guest was handed over.
        hand.on_step("slow", "arrived", lambda: cloud.kill_agent("h1"))
        hand.on_step("slow", "ended", copy_back)
        await cloud.until(lambda: "h1" not in cloud.agents and not world.copying.active, seconds=60)
        for path in (cloud.directory / "agent" / "h1").glob("*.json"):
            path.unlink()
        await cloud.start_agent("h1")
        record = await asking.until_ended(cloud, "slow", seconds=60)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "two_hosts")
        assert [world.hosts[name].guests[uuid].state for name in ("h1", "h2")] == [_RUNNING, _RUNNING]
        shown = await cloud.server("slow")
        assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ERROR", None)
