# SPDX-License-Identifier: Apache-2.0
"""Contract: what a driver shows and does when clients, daemons, links and people get in the way of a transfer."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.drivers import base
from wherry.model import guest, truth
from wherry.testing.driver_contract.harness import GuestWish, Harness, Load
from wherry.testing.driver_contract.move import Move

_S = guest.GuestState
_NOTHING = frozenset({_S.ABSENT, _S.SHUT_OFF})


class FailingContract:
    """Crashes of all kinds."""

    async def test_a_copy_outlives_its_client_and_another_one_steers_and_aborts_it(self, harness: Harness) -> None:
        flags = harness.capabilities
        move = await _started_by_a_dead_client(harness)
        if not flags.adoption:
            with pytest.raises(errors.Unsupported):
                await harness.source_driver.read_transfer(move.instance_uuid)
            return
        first = await move.wait_under_way()
        await move.start(move.slowly())
        assert (await harness.source_driver.observe_guest(move.instance_uuid)).has_job, "a second start joins the copy"
        await harness.source_driver.tune_transfer(move.instance_uuid, downtime_ms=2)
        again = await harness.source_driver.read_transfer(move.instance_uuid)
        assert again.is_active and again.progress and first.progress
        assert again.progress.memory_processed_bytes >= first.progress.memory_processed_bytes
        await harness.source_driver.abort_transfer(move.instance_uuid)
        await move.wait_ended()
        assert await move.verdict(truth.LastIntent.ABORT) is truth.Verdict.CANCELLED
        assert (await move.sides()).source is _S.RUNNING

    async def test_a_copy_outlives_its_client_and_another_one_completes_it(self, harness: Harness) -> None:
        if not harness.capabilities.adoption:
            return  # refused: see the test above
        move = await _started_by_a_dead_client(harness)
        await move.wait_under_way()
        await harness.source_driver.tune_transfer(move.instance_uuid, bandwidth_mib_per_s=10_000, downtime_ms=10_000)
        ended = await move.wait_ended()
        assert ended.call_error == "", "another process made the call, its error is not known here"
        assert await move.verdict() is truth.Verdict.COMPLETED
        assert (await move.finish()).state is _S.RUNNING
        assert (await move.sides()).source is _S.ABSENT

    async def test_a_copy_whose_source_daemon_dies_leaves_the_guest_at_the_source(self, harness: Harness) -> None:
        move = await _stuck(harness)
        signals: list[base.Signal] = []
        unsubscribe = harness.source_driver.subscribe(signals.append)
        await harness.kill_daemon(harness.source)
        await harness.wait_for(lambda: _connection_signals(signals), lambda count: count > 0, "the signal that the connection is lost")
        with pytest.raises(errors.HypervisorUnavailable):
            await harness.source_driver.observe_guest(move.instance_uuid)
        assert (await harness.destination_driver.describe_host()).hypervisor_uuid, "the other host is not concerned"
        await harness.start_daemon(harness.source)
        await _answers_again(harness, harness.source_driver)
        assert await move.verdict() is truth.Verdict.FAILED
        assert (await move.sides()).source is _S.RUNNING
        await move.roll_back()
        assert (await move.sides()).destination is _S.ABSENT
        unsubscribe()

    async def test_a_copy_whose_destination_daemon_dies_leaves_the_guest_at_the_source(self, harness: Harness) -> None:
        move = await _stuck(harness)
        await harness.kill_daemon(harness.destination)
        await harness.wait_for(
            lambda: harness.source_driver.observe_guest(move.instance_uuid),
            lambda seen: not seen.has_job,
            "the source has given up",
        )
        with pytest.raises(errors.HypervisorUnavailable):
            await harness.destination_driver.observe_guest(move.instance_uuid)
        await harness.start_daemon(harness.destination)
        await _answers_again(harness, harness.destination_driver)
        assert await move.verdict() is truth.Verdict.FAILED
        await move.roll_back()
        sides = await move.sides()
        assert (sides.source, sides.destination) == (_S.RUNNING, _S.ABSENT)

    async def test_a_guest_destroyed_in_mid_copy_is_gone_and_not_started_again(self, harness: Harness) -> None:
        move = await _stuck(harness)
        await harness.destroy_guest(harness.source, move.instance_uuid)
        await move.wait_ended()
        assert await move.verdict() is truth.Verdict.GUEST_GONE
        await move.roll_back()
        sides = await move.sides()
        assert sides.source in _NOTHING
        assert sides.destination is _S.ABSENT
        with pytest.raises((errors.GuestNotRunning, errors.GuestNotFound)):
            await move.check_source_as_planned()

    async def test_a_lost_closing_reply_leaves_a_stale_source_which_is_cleaned_up(self, harness: Harness) -> None:
        if not (harness.capabilities.bandwidth_change and harness.capabilities.downtime_change):
            return  # cannot be brought about at a chosen moment
        move = await _stuck(harness)
        await harness.lose_closing_reply(move.instance_uuid)
        await harness.source_driver.tune_transfer(move.instance_uuid, bandwidth_mib_per_s=10_000, downtime_ms=10_000)
        await harness.wait_for(
            lambda: _destination_state(harness, move), lambda state: state is _S.RUNNING, "the guest runs at the destination"
        )
        stale = await harness.wait_for(
            lambda: harness.source_driver.observe_guest(move.instance_uuid),
            lambda seen: not seen.has_job,
            "the source has come to terms with it",
            seconds=harness.lost_reply_seconds,
        )
        assert stale.was_resumed_by_job is (stale.state is _S.RUNNING), "an agent that was away meanwhile has only this to know it by"
        if stale.state is not _S.ABSENT:
            # As an agent does: suspended at once, and removed since the destination was read as running.
            await harness.source_driver.pause_guest(move.instance_uuid)
        await harness.source_driver.clean_up_source(move.source_task, move.plan)
        await harness.source_driver.clean_up_source(move.source_task, move.plan)
        sides = await move.sides()
        assert (sides.source, sides.destination) == (_S.ABSENT, _S.RUNNING)

    async def test_a_daemon_that_hangs_costs_a_call_and_no_more(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish())
        bystander = harness.new_driver(harness.source)
        await bystander.open()
        await harness.stop_daemon(harness.source)
        try:
            began = harness.clock.monotonic()
            with pytest.raises(errors.HypervisorUnavailable):
                await harness.source_driver.observe_guest(instance_uuid)
            assert harness.clock.monotonic() - began <= harness.timeout_seconds
            began = harness.clock.monotonic()
            assert (await harness.destination_driver.describe_host()).hypervisor_uuid
            await bystander.close()
            assert harness.clock.monotonic() - began < harness.timeout_seconds / 2, "neither waits for the daemon that hangs"
        finally:
            await harness.continue_daemon(harness.source)
        await _answers_again(harness, harness.source_driver)
        assert (await harness.source_driver.observe_guest(instance_uuid)).state is _S.RUNNING

    async def test_a_copy_over_a_dead_link_stands_still_and_can_be_aborted(self, harness: Harness) -> None:
        flags = harness.capabilities
        if not (flags.abort and flags.progress):
            return  # nothing of it can be seen
        move = await _stuck(harness)
        await harness.cut_link()
        try:
            transfer = await harness.source_driver.read_transfer(move.instance_uuid)
            assert transfer.is_active, "a dead link is not an end"
            assert (await move.sides()).source is _S.RUNNING
            await harness.source_driver.abort_transfer(move.instance_uuid)
            await move.wait_ended()
            assert (await harness.source_driver.observe_guest(move.instance_uuid)).state is _S.RUNNING
        finally:
            await harness.restore_link()
        assert await move.verdict(truth.LastIntent.ABORT) is truth.Verdict.CANCELLED


async def _stuck(harness: Harness) -> Move:
    """Start a copy that does not end by itself."""
    move = Move(harness, await harness.create_guest(GuestWish(load=Load.DIRTYING)))
    await move.check_prepare_start(move.slowly())
    await move.wait_under_way()
    return move


async def _started_by_a_dead_client(harness: Harness) -> Move:
    move = Move(harness, await harness.create_guest(GuestWish(load=Load.DIRTYING)))
    await move.check()
    await move.prepare()
    await harness.start_and_kill_client(move.source_task, move.plan, move.slowly())
    return move


async def _connection_signals(signals: list[base.Signal]) -> int:
    return sum(signal.kind is base.SignalKind.CONNECTION for signal in signals)


async def _answers_again(harness: Harness, driver: base.HypervisorDriver) -> None:
    async def answers() -> bool:
        try:
            await driver.describe_host()
        except errors.HypervisorUnavailable:
            return False
        return True

    await harness.wait_for(answers, bool, "the driver has mended its connection by itself")


async def _destination_state(harness: Harness, move: Move) -> guest.GuestState:
    # The destination's daemon may be silenced for a while: that is how a reply gets lost.
    try:
        return (await harness.destination_driver.observe_guest(move.instance_uuid)).state
    except errors.HypervisorUnavailable:
        return _S.UNREACHABLE
