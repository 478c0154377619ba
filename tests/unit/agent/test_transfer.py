# SPDX-License-Identifier: Apache-2.0
"""A transfer from its start to its end: budget, deadline, intents, ramp, reports."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tests.unit.agent import rig as rigs
from wherry import errors
from wherry.drivers import simulated
from wherry.model import deadline, guest, operation, truth
from wherry.rpc import messages

pytestmark = [pytest.mark.unit, pytest.mark.virtual_time]

ABORT, FORCE = operation.IntentKind.ABORT, operation.IntentKind.FORCE_COMPLETE


def intent(rig: rigs.Rig, spec: simulated.GuestSpec, kind: operation.IntentKind) -> messages.DeliverIntent:
    return messages.DeliverIntent(**rig.ids(spec), kind=kind, request_id="req-7")


def dirtying(rig: rigs.Rig) -> simulated.GuestSpec:
    """Give a guest whose transfer never ends by itself."""
    rig.add_hosts(link_mib_per_s=rigs.SLOW)
    return rig.world.add_guest("h1", "g", memory_mib=2048, dirty_mib_per_s=500.0)


async def test_an_idle_guest_arrives_and_the_facts_are_reported_in_order(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g", memory_mib=4096)
    await rig.start()
    await rig.start_transfer(spec)
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    started = rig.conductor.of(messages.TransferStarted)[0]
    assert (started.sequence, ended.sequence) == (1, 2)
    assert {started.host, ended.host} == {"h1"}
    # 800 s for each of 4 GiB, from the configuration.
    assert started.deadline == deadline.Deadline(
        timeout_seconds=3200,
        timeout_origin=deadline.Origin.CONFIGURATION,
        on_timeout=deadline.TimeoutAction.ABORT,
        on_timeout_origin=deadline.Origin.CONFIGURATION,
    )
    assert ended.observation.state is guest.GuestState.ABSENT
    assert ended.intent is truth.LastIntent.NONE
    assert ended.progress is not None
    assert ended.progress.memory_remaining_bytes == 0
    assert rig.state_at("h2", spec) is guest.GuestState.RUNNING


async def test_the_start_is_answered_while_the_copy_runs(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    async with asyncio.timeout(1):
        await rig.start_transfer(spec)
    assert rig.world.copying.of(spec.uuid) is not None


@pytest.mark.parametrize("seconds", [3, 20])
async def test_an_abort_deadline_fires_within_a_second_and_once(rig: rigs.Rig, seconds: int) -> None:
    spec = dirtying(rig)
    await rig.start()
    began = rig.clock.monotonic()
    await rig.start_transfer(spec, timeout_seconds=seconds, on_timeout=deadline.TimeoutAction.ABORT)
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert seconds <= rig.clock.monotonic() - began < seconds + 1
    assert ended.intent is truth.LastIntent.ABORT
    assert ended.intent_detail.startswith(f"deadline: abort after {seconds}.")
    assert f"of {seconds} s (request)" in ended.intent_detail
    assert "MiB remain at" in ended.intent_detail
    assert [action.intent for action in rig.conductor.of(messages.ActionTaken)] == [truth.LastIntent.ABORT]
    assert await rig.settle(spec) is truth.Verdict.CANCELLED
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING


async def test_a_force_complete_deadline_switches_to_post_copy_where_permitted(rig: rigs.Rig) -> None:
    rig.configure("libvirt", live_migration_permit_post_copy=True)
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec, timeout_seconds=10, on_timeout=deadline.TimeoutAction.FORCE_COMPLETE)
    await rig.conductor.wait_for(messages.PostCopyStarted)
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.POST_COPY
    assert await rig.settle(spec) is truth.Verdict.COMPLETED
    assert rig.state_at("h2", spec) is guest.GuestState.RUNNING


async def test_a_force_complete_deadline_pauses_the_guest_otherwise(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec, timeout_seconds=10, on_timeout=deadline.TimeoutAction.FORCE_COMPLETE)
    action = await rig.conductor.wait_for(messages.ActionTaken)
    assert action.intent is truth.LastIntent.PAUSE
    assert rig.state_at("h1", spec) in (guest.GuestState.PAUSED, guest.GuestState.PAUSED_FOR_SWITCH_OVER)
    await rig.conductor.wait_for(messages.TransferEnded)
    assert not rig.conductor.of(messages.PostCopyStarted)
    assert await rig.settle(spec) is truth.Verdict.COMPLETED
    assert rig.state_at("h2", spec) is guest.GuestState.RUNNING


async def test_without_a_deadline_nothing_ends_it(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec, timeout_seconds=0)
    await asyncio.sleep(5_000)
    assert not rig.conductor.of(messages.TransferEnded)
    assert not rig.conductor.of(messages.ActionTaken)


async def test_an_abort_on_request_is_taken_at_once_and_doubles_join(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec)
    await asyncio.sleep(5)
    before = rig.clock.monotonic()
    for _ in range(2):
        await rig.conductor.ask("h1", intent(rig, spec, ABORT))
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert rig.clock.monotonic() - before < 0.3
    assert ended.intent_detail.startswith("requested req-7: abort after 5.")
    assert len(rig.conductor.of(messages.ActionTaken)) == 1
    with pytest.raises(errors.NoActiveTransfer):
        await rig.conductor.ask("h1", intent(rig, spec, ABORT))


async def test_an_abort_beats_a_force_complete_by_pause(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec)
    await rig.conductor.ask("h1", intent(rig, spec, FORCE))
    await rig.conductor.wait_for(messages.ActionTaken)
    await rig.conductor.ask("h1", intent(rig, spec, ABORT))
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.ABORT
    assert [action.intent for action in rig.conductor.of(messages.ActionTaken)] == [truth.LastIntent.PAUSE, truth.LastIntent.ABORT]


async def test_nothing_aborts_after_the_switch_to_post_copy(rig: rigs.Rig) -> None:
    rig.configure("libvirt", live_migration_permit_post_copy=True)
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec, timeout_seconds=12, on_timeout=deadline.TimeoutAction.ABORT)
    await rig.conductor.ask("h1", intent(rig, spec, FORCE))
    await rig.conductor.wait_for(messages.PostCopyStarted)
    with pytest.raises(errors.PostCopyUnderWay):
        await rig.conductor.ask("h1", intent(rig, spec, ABORT))
    await rig.conductor.wait_for(messages.TransferEnded)
    assert [action.intent for action in rig.conductor.of(messages.ActionTaken)] == [truth.LastIntent.POST_COPY]
    assert await rig.settle(spec) is truth.Verdict.COMPLETED


async def test_a_driver_without_the_ability_refuses_the_request_and_outlives_the_deadline(rig: rigs.Rig) -> None:
    rig.add_hosts(link_mib_per_s=rigs.SLOW, profile=simulated.PROFILES["vmware"])
    spec = rig.world.add_guest("h1", "g", memory_mib=2048, dirty_mib_per_s=500.0)
    await rig.start()
    # The checks refuse such a request; an agent that is told to start all the same says what it cannot do.
    await rig.start_transfer(spec, timeout_seconds=10)
    for kind in (ABORT, FORCE):
        with pytest.raises(errors.Unsupported):
            await rig.conductor.ask("h1", intent(rig, spec, kind))
    action = await rig.conductor.wait_for(messages.ActionTaken)
    assert action.intent is truth.LastIntent.NONE
    assert action.detail.endswith("the driver cannot abort, the transfer goes on")
    await asyncio.sleep(100)
    assert len(rig.conductor.of(messages.ActionTaken)) == 1
    assert rig.world.copying.of(spec.uuid) is not None


async def test_a_configured_deadline_that_the_driver_cannot_keep_is_none(rig: rigs.Rig) -> None:
    rig.configure("libvirt", live_migration_completion_timeout=5)
    rig.add_hosts(link_mib_per_s=rigs.SLOW, profile=simulated.PROFILES["vmware"])
    spec = rig.world.add_guest("h1", "g", memory_mib=2048, dirty_mib_per_s=500.0)
    await rig.start()
    await rig.start_transfer(spec)
    started = await rig.conductor.wait_for(messages.TransferStarted)
    assert not started.deadline.is_set
    await asyncio.sleep(100)
    assert not rig.conductor.of(messages.ActionTaken)


async def test_a_pause_that_cannot_hold_its_bound_becomes_an_abort(rig: rigs.Rig) -> None:
    rig.configure("libvirt", live_migration_max_pause_seconds=5.0)
    spec = dirtying(rig)
    await rig.start()
    # The rest of 2 GiB at 50 MiB/s takes 40 s.
    await rig.start_transfer(spec, timeout_seconds=10, on_timeout=deadline.TimeoutAction.FORCE_COMPLETE)
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.ABORT
    assert ended.intent_detail.startswith("max_pause: abort")
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING


async def test_a_pause_that_outlasts_its_bound_is_ended_by_an_abort(rig: rigs.Rig) -> None:
    rig.configure("libvirt", live_migration_max_pause_seconds=90.0)
    # 2 GiB at 50 MiB/s, and all of it once more, would fit.
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec)
    await asyncio.sleep(3)
    await rig.conductor.ask("h1", intent(rig, spec, FORCE))
    paused_at = rig.clock.monotonic()
    await rig.conductor.wait_for(messages.ActionTaken)
    rig.disturb.change_link("h2", mib_per_s=1.0)
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    stood_still = rig.clock.monotonic() - paused_at
    assert 90 <= stood_still < 92
    assert ended.intent is truth.LastIntent.ABORT
    # The hypervisor gives no downtime of a transfer that did not complete.
    assert ended.progress is not None
    assert ended.progress.downtime_ms == pytest.approx(stood_still * 1000, abs=500)
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING


async def test_the_downtime_grows_as_configured(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    # Half of 100 s, over 10 steps: one each 5 s, from 50 to 500 ms.
    await rig.start_transfer(spec, timeout_seconds=100)
    transfer = rig.world.copying.of(spec.uuid)
    assert transfer is not None
    seen = []
    # Between the steps, not on them.
    await asyncio.sleep(2)
    for _ in range(12):
        seen.append(round(transfer.downtime_seconds * 1000))
        await asyncio.sleep(5)
    assert seen[0] == 50
    assert seen == sorted(seen)
    assert 95 in seen
    assert seen[-1] == 500


async def test_progress_is_coalesced_and_sent_once_more_at_the_end(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec, timeout_seconds=62)
    await rig.conductor.wait_for(messages.TransferEnded)
    # 62 s at one each 5 s, and one at the end, although it is looked at each half second and at each iteration.
    assert 12 <= len(rig.conductor.of(messages.TransferProgressed)) <= 15


async def test_the_end_is_reported_until_it_is_acknowledged(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.conductor.deaf_to = {messages.TransferEnded}
    await rig.start_transfer(spec)
    repeated = await rig.conductor.wait_for(messages.TransferEnded, 5)
    assert repeated == rig.conductor.of(messages.TransferEnded)[0]
    rig.conductor.deaf_to = set()
    await rig.conductor.wait_for(messages.TransferEnded, 6)
    await asyncio.sleep(1000)
    assert len(rig.conductor.of(messages.TransferEnded)) == 6


async def test_a_report_that_is_not_wanted_is_not_repeated(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.conductor.refuses[messages.TransferStarted] = errors.MigrationNotFound(migration_id="1", uuid="u")
    await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    assert len(rig.conductor.of(messages.TransferStarted)) == 1


async def test_a_hypervisor_that_does_not_answer_is_no_end(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec, timeout_seconds=30)
    await asyncio.sleep(5)
    rig.disturb.silence_daemon("h1", seconds=60)
    await asyncio.sleep(50)
    assert not rig.conductor.of(messages.TransferEnded)
    back = rig.clock.monotonic() + 10
    await rig.conductor.wait_for(messages.TransferEnded)
    # Overdue by then: applied as soon as the hypervisor is back.
    assert 0 <= rig.clock.monotonic() - back < 1


async def test_a_killed_daemon_ends_the_copy_without_our_doing(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    await rig.start_transfer(spec)
    rig.disturb.kill_daemon("h1", back_after_seconds=20)
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.intent is truth.LastIntent.NONE
    assert "lost connection" in ended.call_error
    assert await rig.settle(spec) is truth.Verdict.FAILED


async def test_a_source_that_wakes_up_after_its_hand_over_is_suspended_at_once(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.disturb.on_step("g", "started", lambda: rig.disturb.lose_closing_reply(spec.uuid))
    planned = await rig.start_transfer(spec)
    both = 0.0
    while not rig.conductor.of(messages.TransferEnded):
        await asyncio.sleep(0.01)
        if {rig.state_at(name, spec) for name in ("h1", "h2")} == {guest.GuestState.RUNNING}:
            both += 0.01
    assert both <= 1.0
    assert rig.state_at("h1", spec) is guest.GuestState.PAUSED
    assert rig.conductor.of(messages.TransferEnded)[0].observation.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER
    assert "suspended" in rig.conductor.of(messages.ActionTaken)[0].detail
    assert await rig.settle(spec) is truth.Verdict.COMPLETED
    await rig.conductor.ask("h2", messages.FinishDestination(**planned))
    await rig.conductor.ask("h1", messages.FinishSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.ABSENT
    assert rig.state_at("h2", spec) is guest.GuestState.RUNNING


async def test_a_suspension_that_failed_is_tried_again(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="pause_guest", slug="hypervisor_unavailable"))
    rig.disturb.on_step("g", "started", lambda: rig.disturb.lose_closing_reply(spec.uuid))
    await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    assert rig.state_at("h1", spec) is guest.GuestState.PAUSED
    assert await rig.settle(spec) is truth.Verdict.COMPLETED


async def test_a_person_who_resumes_a_suspended_guest_has_the_last_word(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    rig.disturb.on_step("g", "started", lambda: rig.disturb.lose_closing_reply(spec.uuid))
    await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    rig.disturb.resume_guest("h1", spec.uuid)
    await asyncio.sleep(10)
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING


async def test_a_refused_start_is_the_answer_and_may_be_tried_again(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    planned = await rig.planned(spec)
    refusal = simulated.CallFault(kind=simulated.FaultKind.RAISE, method="start_transfer", slug="transfer_refused")
    rig.world.faults.add(refusal)
    with pytest.raises(errors.TransferRefused):
        await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    assert not rig.conductor.of(messages.TransferEnded)
    await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    await rig.conductor.wait_for(messages.TransferEnded)


async def test_a_repeated_start_neither_starts_nor_watches_twice(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    asked = simulated.CallFault(kind=simulated.FaultKind.DELAY, method="start_transfer", nth=0)
    looks = simulated.CallFault(kind=simulated.FaultKind.DELAY, method="read_transfer", nth=0)
    rig.world.faults.add(asked)
    planned = await rig.start_transfer(spec, timeout_seconds=0)
    await asyncio.sleep(1)
    rig.world.faults.add(looks)
    await asyncio.sleep(10)
    looks_of_one = looks.seen
    for _ in range(3):
        await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    await asyncio.sleep(10)
    assert asked.seen == 1
    assert looks.seen <= looks_of_one * 2 + 2
    assert len(rig.conductor.of(messages.TransferStarted)) == 1


async def test_a_start_without_answer_is_watched_and_found_out(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    planned = await rig.planned(spec)
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, method="start_transfer", when=simulated.When.AFTER))
    starting = asyncio.create_task(rig.conductor.ask("h1", messages.StartTransfer(**planned)))
    await asyncio.sleep(1)
    seen = await rig.conductor.ask("h1", messages.ObserveGuest(**rig.ids(spec)))
    assert seen.observation.has_job
    with pytest.raises(errors.HypervisorUnavailable):
        await starting
    await rig.conductor.wait_for(messages.TransferStarted)
    await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    assert len(rig.conductor.of(messages.TransferStarted)) == 1


async def test_a_start_that_began_nothing_and_told_nobody_is_reported_as_ended(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    planned = await rig.planned(spec)
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, method="start_transfer"))
    with pytest.raises(errors.HypervisorUnavailable):
        await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert not rig.conductor.of(messages.TransferStarted)
    assert "had no answer" in ended.call_error
    assert await rig.settle(spec) is truth.Verdict.FAILED


async def test_a_paused_guest_stays_paused_and_is_not_resumed_by_the_undo(rig: rigs.Rig) -> None:
    rig.add_hosts(link_mib_per_s=rigs.SLOW)
    spec = rig.world.add_guest("h1", "g", memory_mib=4096, state=guest.GuestState.PAUSED)
    await rig.start()
    planned = await rig.start_transfer(spec)
    await rig.conductor.ask("h1", intent(rig, spec, FORCE))
    await rig.conductor.wait_for(messages.ActionTaken)
    await rig.conductor.ask("h1", intent(rig, spec, ABORT))
    await rig.conductor.wait_for(messages.TransferEnded)
    await rig.conductor.ask("h2", messages.RollBackDestination(**planned))
    await rig.conductor.ask("h1", messages.RollBackSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.PAUSED


async def test_the_undo_resumes_what_we_paused_and_not_what_others_did(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    planned = await rig.start_transfer(spec)
    await rig.conductor.ask("h1", intent(rig, spec, FORCE))
    await rig.conductor.wait_for(messages.ActionTaken)
    # The hypervisor resumes a guest whose transfer failed; this one was paused by somebody again.
    rig.disturb.kill_daemon("h2", back_after_seconds=1)
    await rig.conductor.wait_for(messages.TransferEnded)
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    rig.disturb.pause_guest("h1", spec.uuid)
    await rig.conductor.insist("h2", messages.RollBackDestination(**planned))
    await rig.conductor.ask("h1", messages.RollBackSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING, "we had paused it, so it is ours to resume"


async def test_the_undo_leaves_alone_a_guest_that_somebody_paused(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    planned = await rig.start_transfer(spec)
    await rig.conductor.ask("h1", intent(rig, spec, ABORT))
    await rig.conductor.wait_for(messages.TransferEnded)
    rig.disturb.pause_guest("h1", spec.uuid)
    await rig.conductor.ask("h1", messages.RollBackSource(**planned))
    assert rig.state_at("h1", spec) is guest.GuestState.PAUSED


async def test_the_undo_waits_while_the_job_is_there(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    await rig.start()
    planned = await rig.start_transfer(spec)
    with pytest.raises(errors.JobActive):
        await rig.conductor.ask("h1", messages.RollBackSource(**planned))
    await asyncio.sleep(1)
    await rig.conductor.ask("h1", intent(rig, spec, ABORT))
    await rig.conductor.wait_for(messages.TransferEnded)


async def test_a_changed_configuration_reaches_a_running_transfer_unless_the_request_named_it(rig: rigs.Rig) -> None:
    spec = dirtying(rig)
    other = rig.world.add_guest("h1", "other", memory_mib=2048, dirty_mib_per_s=500.0)
    await rig.start()
    await rig.start_transfer(spec)
    planned = {
        **await rig.planned(other, operation_id="other"),
        "request": dataclasses.replace((await rig.planned(other))["request"], timeout_seconds=500),
    }
    await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    await asyncio.sleep(10)
    rig.configure("libvirt", live_migration_completion_timeout=10)
    await rig.agents["h1"].agent.reload(rig.config)
    changed = await rig.conductor.wait_for(messages.ActionTaken)
    assert changed.deadline is not None
    assert changed.deadline.timeout_seconds == 20
    ended = await rig.conductor.wait_for(messages.TransferEnded)
    assert ended.operation_id == rigs.OPERATION
    assert 20 <= rig.clock.monotonic() < 21.5
    assert rig.world.copying.of(other.uuid) is not None
