# SPDX-License-Identifier: Apache-2.0
"""An agent killed at every point, and its successor: nothing aborted, nothing done twice, the deadline kept."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable

import pytest

from tests.unit.agent import rig as rigs
from wherry import errors
from wherry.drivers import simulated
from wherry.drivers.simulated import fleet
from wherry.model import deadline, guest, migration, operation, truth
from wherry.rpc import messages

pytestmark = [pytest.mark.unit, pytest.mark.virtual_time(limit_seconds=20_000)]


async def restart_when_dead(rig: rigs.Rig, process: rigs.Process) -> None:
    """Start a new agent a while after the death of the old one."""
    await process.life.has_died.wait()
    await asyncio.sleep(1)
    await (await rig.start_agent(process.agent.host)).agent.ready()


async def complete_with_a_death(host_name: str, life: rigs.Life) -> None:
    """Run a whole migration while one agent dies as its life says, and check that it made no difference."""
    rig = rigs.Rig()
    rig.configure("default", report_interval_seconds=50.0)
    rig.add_hosts(link_mib_per_s=400.0)
    spec = rig.world.add_guest("h1", "g", memory_mib=2048)
    await rig.conductor.start()
    await rig.start_agent("h2" if host_name == "h1" else "h1")
    successor = asyncio.create_task(restart_when_dead(rig, await rig.start_agent(host_name, life)))
    assert await rig.drive(spec) is truth.Verdict.COMPLETED
    successor.cancel()
    assert rig.state_at("h1", spec) is guest.GuestState.ABSENT
    assert rig.state_at("h2", spec) is guest.GuestState.RUNNING
    assert not any(process.parts.journal.unfinished() for process in rig.agents.values() if not process.life.is_dead)
    assert not rig.conductor.of(messages.ActionTaken)
    await rig.stop()


async def abort_with_a_death(life: rigs.Life) -> None:
    """Let a deadline abort a transfer while its agent dies as its life says, and check that it made no difference."""
    rig = rigs.Rig()
    rig.configure("default", report_interval_seconds=50.0)
    rig.add_hosts(link_mib_per_s=rigs.SLOW)
    spec = rig.world.add_guest("h1", "g", memory_mib=2048, dirty_mib_per_s=500.0)
    await rig.start("h2")
    process = await rig.start_agent("h1", life)
    request = migration.LiveMigrationRequest(timeout_seconds=3, on_timeout=deadline.TimeoutAction.ABORT)
    successor = asyncio.create_task(restart_when_dead(rig, process))
    planned = {**rig.ids(spec), "plan": rig.plan(await rig.described(spec)), "request": request}
    await rig.conductor.insist("h1", messages.StartTransfer(**planned))
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.ABORT
    assert await rig.settle(spec) is truth.Verdict.CANCELLED
    await rig.conductor.insist("h1", messages.RollBackSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    successor.cancel()
    await rig.stop()


DISK = f"{fleet.DEFAULT_DIRECTORY}/g.qcow2"


async def undo_with_a_death(host_name: str, life: rigs.Life) -> None:
    """Let a block migration be aborted by its deadline while one agent dies as its life says: nothing of it must be left."""
    rig = rigs.Rig()
    rig.configure("default", report_interval_seconds=50.0)
    rig.add_hosts(link_mib_per_s=rigs.SLOW)
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=DISK, capacity_bytes=1 << 30)
    spec = rig.world.add_guest("h1", "g", memory_mib=2048, dirty_mib_per_s=500.0, disks=(disk,))
    before = {name: dict(rig.world.host(name).stores[fleet.DEFAULT_DIRECTORY].files) for name in ("h1", "h2")}
    await rig.conductor.start()
    await rig.start_agent("h2" if host_name == "h1" else "h1")
    successor = asyncio.create_task(restart_when_dead(rig, await rig.start_agent(host_name, life)))
    verdict = await rig.drive(spec, timeout_seconds=5, on_timeout=deadline.TimeoutAction.ABORT)
    successor.cancel()
    assert verdict is truth.Verdict.CANCELLED
    after = {name: dict(rig.world.host(name).stores[fleet.DEFAULT_DIRECTORY].files) for name in ("h1", "h2")}
    assert after == before
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    assert rig.state_at("h2", spec) is guest.GuestState.ABSENT
    await rig.stop()


#: When the process dies of a touch, and whether its machine loses power with it.
DEATHS = pytest.mark.parametrize(
    ("is_after_effect", "loses_unsynced"),
    [(False, False), (True, False), (False, True), (True, True)],
    ids=["before", "after", "before-power", "after-power"],
)


async def at_every_touch(
    run: Callable[[rigs.Life], Awaitable[None]], *, is_after_effect: bool, loses_unsynced: bool, at_least: int
) -> None:
    """Run it again and again, with a death at the first touch of the world, at the second, and so on, until nobody died of it."""
    for touch in itertools.count(1):
        life = rigs.Life()
        life.dies_at, life.dies_after_effect, life.loses_unsynced = touch, is_after_effect, loses_unsynced
        try:
            await run(life)
        except (AssertionError, errors.Error, TimeoutError) as error:
            raise AssertionError(f"with a death {'after' if is_after_effect else 'before'} touch {touch}: {error!r}") from error
        if not life.is_dead:
            assert touch > at_least
            return


@pytest.mark.parametrize(("host_name", "at_least"), [("h1", 25), ("h2", 12)])
@DEATHS
async def test_killed_at_any_touch_of_the_world_the_migration_completes(
    host_name: str, at_least: int, is_after_effect: bool, loses_unsynced: bool
) -> None:
    run = functools.partial(complete_with_a_death, host_name)
    await at_every_touch(run, is_after_effect=is_after_effect, loses_unsynced=loses_unsynced, at_least=at_least)


@DEATHS
async def test_killed_at_any_touch_an_abort_deadline_still_ends_cancelled(is_after_effect: bool, loses_unsynced: bool) -> None:
    await at_every_touch(abort_with_a_death, is_after_effect=is_after_effect, loses_unsynced=loses_unsynced, at_least=20)


@pytest.mark.parametrize(("host_name", "at_least"), [("h1", 25), ("h2", 12)])
@DEATHS
async def test_killed_at_any_touch_an_undo_leaves_nothing_behind(
    host_name: str, at_least: int, is_after_effect: bool, loses_unsynced: bool
) -> None:
    run = functools.partial(undo_with_a_death, host_name)
    await at_every_touch(run, is_after_effect=is_after_effect, loses_unsynced=loses_unsynced, at_least=at_least)


async def endless(rig: rigs.Rig) -> simulated.GuestSpec:
    rig.add_hosts(link_mib_per_s=rigs.SLOW)
    spec = rig.world.add_guest("h1", "g", memory_mib=2048, dirty_mib_per_s=500.0)
    await rig.start()
    return spec


@pytest.mark.parametrize("away_seconds", [2.0, 20.0])
async def test_the_deadline_is_the_same_one_after_a_restart(rig: rigs.Rig, away_seconds: float) -> None:
    spec = await endless(rig)
    began = rig.clock.monotonic()
    await rig.start_transfer(spec, timeout_seconds=15, on_timeout=deadline.TimeoutAction.ABORT)
    await asyncio.sleep(5)
    rig.kill("h1")
    await asyncio.sleep(away_seconds)
    back = rig.clock.monotonic() - began
    await (await rig.start_agent("h1")).agent.ready()
    await rig.conductor.wait_for(messages.TransferEnded)
    # Within 1 s of its time, or of the agent's return.
    due = max(15.0, back)
    assert due <= rig.clock.monotonic() - began < due + 1
    assert len(rig.conductor.of(messages.TransferStarted)) == 1


async def test_the_deadline_is_kept_through_a_reboot_of_the_agents_machine(rig: rigs.Rig) -> None:
    spec = await endless(rig)
    began = rig.clock.monotonic()
    await rig.start_transfer(spec, timeout_seconds=30, on_timeout=deadline.TimeoutAction.ABORT)
    await asyncio.sleep(5)
    rig.kill("h1")
    await asyncio.sleep(5)
    rig.boot_clock.reboot()
    await (await rig.start_agent("h1")).agent.ready()
    await rig.conductor.wait_for(messages.TransferEnded)
    assert 29.5 <= rig.clock.monotonic() - began < 31


async def test_with_nobody_to_command_it_the_adopted_transfer_keeps_its_deadline_and_reports_later(rig: rigs.Rig) -> None:
    spec = await endless(rig)
    await rig.start_transfer(spec, timeout_seconds=15, on_timeout=deadline.TimeoutAction.ABORT)
    await asyncio.sleep(1)
    rig.conductor.transport.sever()
    rig.kill("h1")
    await rig.start_agent("h1")
    await asyncio.sleep(60)
    assert rig.world.copying.of(spec.uuid) is None
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    await rig.conductor.transport.close()
    rig.conductor = rigs.Conductor(rig.bus)
    await rig.conductor.start()
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.ABORT


async def test_a_transfer_that_was_just_being_started_keeps_its_deadline_with_nobody_to_command_it(rig: rigs.Rig) -> None:
    spec = await endless(rig)
    began = rig.clock.monotonic()
    rig.world.faults.add(
        simulated.CallFault(kind=simulated.FaultKind.DELAY, method="start_transfer", when=simulated.When.AFTER, seconds=100)
    )
    starting = asyncio.create_task(rig.start_transfer(spec, timeout_seconds=15, on_timeout=deadline.TimeoutAction.ABORT))
    await asyncio.sleep(1)
    rig.agents["h1"].life.loses_unsynced = True
    rig.kill("h1")
    starting.cancel()
    await rig.start_agent("h1")
    await rig.conductor.wait_for(messages.TransferEnded)
    assert 15 <= rig.clock.monotonic() - began < 16
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING


@pytest.mark.parametrize("is_locked", [True, False])
async def test_a_guest_that_the_undo_resumed_is_not_suspended_by_the_successor(rig: rigs.Rig, is_locked: bool) -> None:
    # With a lock on its disk the source cannot resume its guest, and leaves it as it was at the hand-over.
    store = rig.world.add_store(fleet.Store("shared", has_locks=True))
    rig.add_hosts(stores={fleet.DEFAULT_DIRECTORY: store})
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=DISK, capacity_bytes=1 << 30)
    spec = rig.world.add_guest("h1", "g", disks=(disk,) if is_locked else ())
    await rig.start()
    rig.disturb.on_step("g", "started", lambda: rig.disturb.lose_closing_reply(spec.uuid))
    planned = await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    left = guest.GuestState.PAUSED_FOR_SWITCH_OVER if is_locked else guest.GuestState.PAUSED
    assert rig.state_at("h1", spec) is left
    # The destination's is lost then: the source's is the last one.
    rig.disturb.destroy_guest("h2", spec.uuid)
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="resume_guest", when=simulated.When.AFTER, seconds=100))
    undoing = asyncio.create_task(rig.conductor.ask("h1", messages.RollBackSource(**planned), 5))
    await asyncio.sleep(1)
    rig.kill("h1")
    await (await rig.start_agent("h1")).agent.ready()
    for _ in range(50):
        await asyncio.sleep(0.1)
        assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    with pytest.raises(errors.RpcTimeout):
        await undoing
    await rig.conductor.ask("h1", messages.RollBackSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING


async def test_a_transfer_that_ended_meanwhile_is_reported_as_ended(rig: rigs.Rig) -> None:
    rig.add_hosts(link_mib_per_s=400.0)
    spec = rig.world.add_guest("h1", "g", memory_mib=4096)
    await rig.start()
    await rig.start_transfer(spec)
    await asyncio.sleep(1)
    rig.kill("h1")
    await asyncio.sleep(100)
    assert not rig.conductor.of(messages.TransferEnded)
    await rig.start_agent("h1")
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.observation.state is guest.GuestState.ABSENT
    assert await rig.settle(spec) is truth.Verdict.COMPLETED


async def test_a_report_that_was_not_acknowledged_is_sent_by_the_successor(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.conductor.deaf_to = {messages.TransferEnded}
    await rig.start_transfer(spec)
    first = await rig.conductor.wait_for(messages.TransferEnded)
    rig.kill("h1")
    rig.conductor.deaf_to = set()
    await rig.start_agent("h1")
    assert await rig.conductor.wait_for(messages.TransferEnded, 2) == first


async def test_an_intent_that_was_acknowledged_is_carried_out_by_the_successor(rig: rigs.Rig) -> None:
    spec = await endless(rig)
    await rig.start_transfer(spec)
    await asyncio.sleep(2)
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="abort_transfer", seconds=100))
    command = messages.DeliverIntent(**rig.ids(spec), kind=operation.IntentKind.ABORT, request_id="req-7")
    await rig.conductor.ask("h1", command)
    rig.kill("h1")
    await rig.start_agent("h1")
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.ABORT
    assert await rig.settle(spec) is truth.Verdict.CANCELLED


async def test_a_source_that_wakes_up_while_its_agent_is_dead_is_suspended_at_its_return(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.disturb.on_step("g", "started", lambda: rig.disturb.lose_closing_reply(spec.uuid))
    planned = await rig.start_transfer(spec)
    await asyncio.sleep(15)
    assert rig.state_at("h1", spec) is guest.GuestState.PAUSED_FOR_SWITCH_OVER
    rig.kill("h1")
    await asyncio.sleep(30)
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    back = rig.clock.monotonic()
    await rig.start_agent("h1")
    await rig.conductor.wait_for(messages.TransferEnded)
    assert rig.clock.monotonic() - back < 1
    assert rig.state_at("h1", spec) is guest.GuestState.PAUSED
    assert await rig.settle(spec) is truth.Verdict.COMPLETED
    await rig.conductor.ask("h1", messages.FinishSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.ABSENT


async def test_a_graceful_stop_leaves_the_transfer_running_and_the_next_agent_takes_it_up(rig: rigs.Rig) -> None:
    spec = await endless(rig)
    began = rig.clock.monotonic()
    await rig.start_transfer(spec, timeout_seconds=15)
    await rig.agents["h1"].agent.stop()
    assert len(rig.conductor.of(messages.SignOff)) == 1
    assert rig.world.copying.of(spec.uuid) is not None
    await rig.start_agent("h1")
    await rig.conductor.wait_for(messages.TransferEnded)
    assert 15 <= rig.clock.monotonic() - began < 16


async def test_a_job_that_is_not_ours_is_left_alone(rig: rigs.Rig, caplog: pytest.LogCaptureFixture) -> None:
    spec = await endless(rig)
    await rig.start_transfer(spec, timeout_seconds=15)
    rig.kill("h1")
    rig.storages.pop("h1")
    await (await rig.start_agent("h1")).agent.ready()
    await asyncio.sleep(1000)
    assert rig.world.copying.of(spec.uuid) is not None
    assert "A guest has a job that is not ours and is left alone" in caplog.text


async def test_a_lost_journal_is_rebuilt_from_the_conductors_command(rig: rigs.Rig) -> None:
    spec = await endless(rig)
    began = rig.clock.monotonic()
    planned = await rig.start_transfer(spec, timeout_seconds=60)
    await asyncio.sleep(20)
    rig.kill("h1")
    rig.storages.pop("h1")
    await (await rig.start_agent("h1")).agent.ready()
    await rig.conductor.insist("h1", messages.StartTransfer(**{**planned, "epoch": 2}))
    await rig.conductor.wait_for(messages.TransferEnded)
    # The hypervisor's own count says when it began.
    assert 60 <= rig.clock.monotonic() - began < 61


async def test_a_second_agent_is_refused_the_journal_naming_the_first(rig: rigs.Rig) -> None:
    await endless(rig)
    incarnation = rig.agents["h1"].parts.incarnation
    with pytest.raises(errors.JournalLocked, match=incarnation):
        await rig.start_agent("h1")
