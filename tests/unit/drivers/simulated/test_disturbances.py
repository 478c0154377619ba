# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the simulated fleet goes wrong as it does with libvirt, and scripted faults hit the call that they name."""

from __future__ import annotations

import pytest

from tests.unit.drivers.simulated import two_hosts
from tests.unit.drivers.simulated.two_hosts import MIB, TwoHosts
from wherry import errors
from wherry.drivers import base, simulated
from wherry.drivers.simulated import fleet
from wherry.model import guest

_S = guest.GuestState
_DIRECTORY = "/var/lib/wherry/instances"


def test_a_cut_link_freezes_the_counters_and_the_copy_goes_on_when_it_is_mended() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(uuid)
        await hosts.clock.sleep(4)
        hosts.hand.cut_link("a", seconds=60)
        before = await hosts.counters(uuid)
        await hosts.clock.sleep(50)
        after = await hosts.counters(uuid)
        assert after.memory_remaining_bytes == before.memory_remaining_bytes == 600 * MIB
        assert after.memory_bytes_per_second == 0
        assert await hosts.until_ended(uuid) == pytest.approx(70, abs=0.01)

    two_hosts.run(body)


@pytest.mark.parametrize("is_instant", [False, True])
def test_a_guest_paused_since_it_arrived_is_lost_when_it_is_sent_on_past_the_check(is_instant: bool) -> None:
    async def body() -> None:
        hosts = TwoHosts(is_instant=is_instant)
        disk = guest.Disk(name="vda", kind=guest.DiskKind.BLOCK, source="/dev/lun")
        uuid = hosts.world.add_guest("a", "g", memory_mib=100, state=_S.PAUSED, disks=(disk,), is_persistent=False).uuid
        await hosts.open()
        await hosts.start(uuid)
        await hosts.clock.sleep(10)
        assert await hosts.states(uuid) == (_S.ABSENT, _S.PAUSED)
        with pytest.raises(errors.PausedSinceArrival):
            await hosts.start(uuid, source="b", destination="a")
        # Past the check: to it, it came some other way.
        hosts.world.host("b").guests[uuid].shows_arrival = False
        await hosts.start(uuid, source="b", destination="a")
        await hosts.clock.sleep(10)
        assert await hosts.states(uuid) == (_S.ABSENT, _S.ABSENT)
        assert (await hosts.read(uuid, "b")).call_error == "operation failed: domain is not running"

    two_hosts.run(body)


def test_a_dead_daemon_cancels_pre_copies_on_both_sides_and_no_post_copy() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        leaving = hosts.world.add_guest("a", "leaving", memory_mib=1000).uuid
        coming = hosts.world.add_guest("b", "coming", memory_mib=1000).uuid
        switched = hosts.world.add_guest("a", "switched", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(leaving)
        await hosts.start(coming, source="b", destination="a")
        await hosts.start(switched, permit_post_copy=True)
        await hosts.clock.sleep(1)
        await hosts.drivers["a"].start_post_copy(switched)
        hosts.hand.kill_daemon("a", back_after_seconds=5)
        with pytest.raises(errors.HypervisorUnavailable, match="refused"):
            await hosts.drivers["a"].observe_guest(leaving)
        await hosts.clock.sleep(6)
        assert await hosts.states(leaving) == (_S.RUNNING, _S.ABSENT)
        assert await hosts.states(coming) == (_S.ABSENT, _S.RUNNING)
        await hosts.clock.sleep(30)
        assert await hosts.states(switched) == (_S.ABSENT, _S.RUNNING)
        assert "lost connection" in (await hosts.read(leaving)).call_error

    two_hosts.run(body)


def test_a_daemon_that_hangs_keeps_a_copy_from_switching_over_until_it_answers() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=10).uuid
        await hosts.open()
        await hosts.start(uuid, downtime_ms=500)
        hosts.hand.silence_daemon("b", seconds=100)
        await hosts.clock.sleep(90)
        assert (await hosts.drivers["a"].observe_guest(uuid)).state is _S.RUNNING
        ended = await hosts.until_ended(uuid)
        assert 100 < ended < 120

    two_hosts.run(body)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("started", (_S.SHUT_OFF, _S.ABSENT)),
        ("switch_over", (_S.SHUT_OFF, _S.ABSENT)),
        ("post_copy", (_S.SHUT_OFF, _S.POST_COPY_FAILED)),
        # What has arrived is another guest by now, and runs on.
        ("arrived", (_S.SHUT_OFF, _S.RUNNING)),
    ],
)
def test_a_guest_destroyed_at_the_source_is_gone_at_every_step(step: str, expected: tuple[guest.GuestState, guest.GuestState]) -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        hosts.hand.on_step("g", step, lambda: hosts.hand.destroy_guest("a", uuid))
        await hosts.start(uuid, permit_post_copy=True)
        await hosts.clock.sleep(5)
        if step == "post_copy":
            await hosts.drivers["a"].start_post_copy(uuid)
        await hosts.clock.sleep(20)
        assert await hosts.states(uuid) == expected
        assert not (await hosts.read(uuid)).is_active

    two_hosts.run(body)


def test_a_guest_destroyed_where_it_arrives_runs_on_at_the_source() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(uuid)
        await hosts.clock.sleep(5)
        hosts.hand.destroy_guest("b", uuid)
        assert await hosts.states(uuid) == (_S.RUNNING, _S.ABSENT)
        assert (await hosts.read(uuid)).call_error

    two_hosts.run(body)


@pytest.mark.parametrize(("has_lock", "source"), [(True, _S.PAUSED_FOR_SWITCH_OVER), (False, _S.RUNNING)])
def test_a_lost_closing_reply_resumes_the_source_unless_a_lock_forbids_it(has_lock: bool, source: guest.GuestState) -> None:
    async def body() -> None:
        hosts = TwoHosts()
        store = simulated.Store("shared", has_locks=has_lock)
        for host in hosts.world.hosts.values():
            host.stores[_DIRECTORY] = store
        disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=f"{_DIRECTORY}/g.raw", capacity_bytes=MIB, cache="none")
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, disks=(disk,)).uuid
        await hosts.open()
        await hosts.start(uuid)
        hosts.hand.lose_closing_reply(uuid)
        await hosts.clock.sleep(20)
        assert await hosts.states(uuid) == (_S.PAUSED_FOR_SWITCH_OVER, _S.RUNNING)
        assert (await hosts.drivers["a"].observe_guest(uuid)).has_job
        ended = await hosts.until_ended(uuid)
        assert ended == pytest.approx(10 + 26, abs=0.1)
        assert await hosts.states(uuid) == (source, _S.RUNNING)
        assert "lost connection" in (await hosts.read(uuid)).call_error

    two_hosts.run(body)


def test_a_resume_during_a_copy_waits_and_fails_as_libvirts_does() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=10_000).uuid
        await hosts.open()
        await hosts.start(uuid)
        await hosts.drivers["a"].pause_guest(uuid)
        with pytest.raises(errors.HypervisorFailure, match="lock"):
            await hosts.drivers["a"].resume_guest(uuid)
        assert hosts.clock.monotonic() == pytest.approx(30)
        assert (await hosts.states(uuid))[0] is _S.PAUSED_FOR_SWITCH_OVER, "paused (migration), says libvirt of any pause in a copy"

    two_hosts.run(body)


def test_a_power_cut_takes_the_guests_and_leaves_the_files() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=f"{_DIRECTORY}/g.raw", capacity_bytes=MIB, cache="none")
        uuid = hosts.world.add_guest("a", "g", disks=(disk,)).uuid
        await hosts.open()
        hosts.hand.power_off("a")
        with pytest.raises(errors.HypervisorUnavailable):
            await hosts.drivers["a"].describe_host()
        hosts.hand.start_daemon("a")
        assert (await hosts.drivers["a"].observe_guest(uuid)).state is _S.SHUT_OFF
        assert hosts.world.hosts["a"].has_file(f"{_DIRECTORY}/g.raw")

    two_hosts.run(body)


# ------------------------------------------------------------------ scripted faults


def test_only_the_call_that_is_named_fails() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g").uuid
        other = hosts.world.add_guest("a", "other").uuid
        await hosts.open()
        hosts.world.faults.add(
            simulated.CallFault(kind=simulated.FaultKind.RAISE, method="pause_guest", host="a", guest="g", nth=2, slug="hypervisor_failure")
        )
        driver = hosts.drivers["a"]
        await driver.pause_guest(other)
        await driver.pause_guest(uuid)
        with pytest.raises(errors.HypervisorFailure, match="scripted"):
            await driver.pause_guest(uuid)
        await driver.pause_guest(uuid)

    two_hosts.run(body)


def test_a_fault_after_the_effect_loses_only_the_answer() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g").uuid
        await hosts.open()
        hosts.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, method="pause_guest", when=simulated.When.AFTER, nth=0))
        with pytest.raises(errors.HypervisorUnavailable, match="no answer"):
            await hosts.drivers["a"].pause_guest(uuid)
        assert hosts.clock.monotonic() == pytest.approx(30)
        assert (await hosts.states(uuid))[0] is _S.PAUSED
        hosts.world.faults.clear()
        hosts.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, method="resume_guest"))
        with pytest.raises(errors.HypervisorUnavailable):
            await hosts.drivers["a"].resume_guest(uuid)
        assert (await hosts.states(uuid))[0] is _S.PAUSED, "this one never reached it"

    two_hosts.run(body)


def test_a_call_can_be_slow_or_take_the_daemon_with_it() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        await hosts.open()
        hosts.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="describe_host", host="b", seconds=7))
        await hosts.drivers["a"].describe_host()
        assert hosts.clock.monotonic() == 0
        await hosts.drivers["b"].describe_host()
        assert hosts.clock.monotonic() == 7
        hosts.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.CRASH, method="describe_guests", host="a", seconds=3))
        signals: list[base.Signal] = []
        hosts.drivers["a"].subscribe(signals.append)
        with pytest.raises(errors.HypervisorUnavailable):
            await hosts.drivers["a"].describe_guests()
        with pytest.raises(errors.HypervisorUnavailable):
            await hosts.drivers["a"].describe_host()
        await hosts.clock.sleep(3.5)
        assert (await hosts.drivers["a"].describe_host()).hypervisor_uuid
        assert [(signal.kind, signal.detail) for signal in signals] == [
            (base.SignalKind.CONNECTION, "lost"),
            (base.SignalKind.CONNECTION, "back"),
        ]

    two_hosts.run(body)


def test_a_closed_driver_refuses_and_gives_no_more_signals() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g").uuid
        await hosts.open()
        signals: list[base.Signal] = []
        hosts.drivers["a"].subscribe(signals.append)
        hosts.hand.pause_guest("a", uuid)
        await hosts.drivers["a"].close()
        hosts.hand.resume_guest("a", uuid)
        await hosts.clock.sleep(1)
        assert signals == []
        with pytest.raises(errors.HypervisorUnavailable, match=r"open\(\)"):
            await hosts.drivers["a"].describe_host()

    two_hosts.run(body)


def test_libvirt_resumes_what_we_paused_when_a_copy_is_aborted_and_not_what_was_paused_before() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        ours = hosts.world.add_guest("a", "ours", memory_mib=1000).uuid
        theirs = hosts.world.add_guest("a", "theirs", memory_mib=1000, state=_S.PAUSED).uuid
        await hosts.open()
        for uuid in (ours, theirs):
            await hosts.start(uuid)
        await hosts.drivers["a"].pause_guest(ours)
        for uuid in (ours, theirs):
            await hosts.drivers["a"].abort_transfer(uuid)
        assert await hosts.states(ours) == (_S.RUNNING, _S.ABSENT)
        assert await hosts.states(theirs) == (_S.PAUSED, _S.ABSENT)

    two_hosts.run(body)


def test_undo_removes_a_leftover_that_does_not_run_and_no_disk_that_a_guest_uses() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=f"{_DIRECTORY}/g.raw", capacity_bytes=MIB, cache="none")
        spec = hosts.world.add_guest("a", "g", disks=(disk,))
        await hosts.open()
        plan = await hosts.check(spec.uuid)
        there = hosts.world.hosts["b"]
        task = hosts.task(spec.uuid)
        await hosts.drivers["b"].prepare_destination(task, plan)
        task = hosts.task(spec.uuid)
        assert disk.source in task.created
        for state, stays in ((_S.RUNNING, True), (_S.PAUSED, True), (_S.PAUSED_FOR_SWITCH_OVER, False)):
            there.guests[spec.uuid] = fleet.Guest(spec, state)
            await hosts.drivers["b"].roll_back_destination(task, plan)
            assert (spec.uuid in there.guests) is stays
            assert there.has_file(disk.source) is stays

    two_hosts.run(body)
