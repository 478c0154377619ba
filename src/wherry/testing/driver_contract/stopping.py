# SPDX-License-Identifier: Apache-2.0
"""Contract: a transfer is aborted and undone, or forced to complete by a pause or by post-copy."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.drivers import base
from wherry.model import guest, truth
from wherry.testing.driver_contract.harness import GuestWish, Harness, Load, Storage
from wherry.testing.driver_contract.move import Move

_S = guest.GuestState


class StoppingContract:
    """Abort, pause, post-copy, roll back."""

    async def test_an_aborted_guest_runs_on_and_only_what_was_made_is_removed(self, harness: Harness) -> None:
        flags = harness.capabilities
        wish = GuestWish(storage=Storage.PRIVATE if flags.storage_copy else Storage.SHARED)
        instance_uuid = await harness.create_guest(wish)
        move = Move(harness, instance_uuid)
        await move.check()
        foreign = await harness.place_file(harness.destination)
        before = await harness.files(harness.destination)
        signals: list[base.Signal] = []
        unsubscribe = harness.source_driver.subscribe(signals.append)
        await move.prepare()
        await move.start(move.slowly())
        await move.wait_under_way()
        if not flags.abort:
            with pytest.raises(errors.Unsupported):
                await harness.source_driver.abort_transfer(instance_uuid)
            assert (await harness.source_driver.read_transfer(instance_uuid)).is_active
            return
        await harness.source_driver.abort_transfer(instance_uuid)
        await move.wait_ended()
        assert await move.verdict(truth.LastIntent.ABORT) is truth.Verdict.CANCELLED
        seen = await harness.source_driver.observe_guest(instance_uuid)
        assert (seen.state, seen.was_resumed_by_job) == (_S.RUNNING, False), "it never stood still"
        with pytest.raises(errors.NoActiveTransfer):
            await harness.source_driver.abort_transfer(instance_uuid)
        await harness.wait_for(lambda: _ended(signals), bool, "the signal that the transfer has ended")
        await move.roll_back()
        await move.roll_back()
        assert foreign in before
        assert await harness.files(harness.destination) == before
        assert (await move.sides()).destination is _S.ABSENT
        unsubscribe()

    async def test_a_guest_that_we_paused_runs_again_after_an_abort(self, harness: Harness) -> None:
        flags = harness.capabilities
        instance_uuid = await harness.create_guest(GuestWish(load=Load.DIRTYING))
        move = Move(harness, instance_uuid)
        await move.check_prepare_start(move.slowly())
        await move.wait_under_way()
        if not flags.force_complete_by_pause:
            with pytest.raises(errors.Unsupported):
                await harness.source_driver.pause_guest(instance_uuid)
            assert (await move.sides()).source is _S.RUNNING
            return
        await harness.source_driver.pause_guest(instance_uuid)
        await harness.source_driver.pause_guest(instance_uuid)
        # libvirt shows a pause during a migration as the migration's own; taking it for a switch-over errs on the careful side.
        assert (await move.sides()).source in (_S.PAUSED, _S.PAUSED_FOR_SWITCH_OVER)
        await harness.source_driver.abort_transfer(instance_uuid)
        await move.wait_ended()
        seen = await harness.source_driver.observe_guest(instance_uuid)
        assert seen.was_resumed_by_job is (seen.state is _S.RUNNING)
        await harness.source_driver.resume_guest(instance_uuid)
        await harness.source_driver.resume_guest(instance_uuid)
        assert (await move.sides()).source is _S.RUNNING

    async def test_a_pause_lets_a_copy_end_that_never_would_and_the_guest_runs_there(self, harness: Harness) -> None:
        flags = harness.capabilities
        if not flags.force_complete_by_pause:
            return  # refused: see the test above
        instance_uuid = await harness.create_guest(GuestWish(load=Load.DIRTYING))
        move = Move(harness, instance_uuid)
        await move.check_prepare_start(move.slowly())
        await move.wait_under_way()
        await harness.source_driver.pause_guest(instance_uuid)
        if flags.bandwidth_change:
            await harness.source_driver.tune_transfer(instance_uuid, bandwidth_mib_per_s=10_000)
        await move.wait_ended()
        assert await move.verdict(truth.LastIntent.PAUSE) is truth.Verdict.COMPLETED
        assert (await move.finish()).state is _S.RUNNING

    async def test_post_copy_completes_and_is_not_aborted(self, harness: Harness) -> None:
        if not harness.capabilities.force_complete_by_post_copy:
            return  # refused: see TransferringContract
        instance_uuid = await harness.create_guest(GuestWish(load=Load.DIRTYING))
        move = Move(harness, instance_uuid)
        await move.check_prepare_start(move.slowly(permit_post_copy=True))
        await move.wait_under_way()
        await move.switch_to_post_copy()
        transfer = await harness.source_driver.read_transfer(instance_uuid)
        if transfer.is_active:
            await harness.source_driver.start_post_copy(instance_uuid)
            with pytest.raises(errors.Error):
                await harness.source_driver.abort_transfer(instance_uuid)
        await move.wait_ended()
        assert await move.verdict(truth.LastIntent.POST_COPY) is truth.Verdict.COMPLETED
        assert (await move.finish()).state is _S.RUNNING
        assert (await move.sides()).source is _S.ABSENT

    async def test_post_copy_is_refused_where_the_job_was_not_started_for_it(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish(load=Load.DIRTYING))
        move = Move(harness, instance_uuid)
        await move.check_prepare_start(move.slowly())
        await move.wait_under_way()
        with pytest.raises(errors.Unsupported):
            await harness.source_driver.start_post_copy(instance_uuid)
        assert (await harness.source_driver.read_transfer(instance_uuid)).is_active
        assert (await move.sides()).source is _S.RUNNING

    async def test_a_broken_post_copy_loses_neither_side_and_can_be_resumed(self, harness: Harness) -> None:
        if not harness.capabilities.force_complete_by_post_copy:
            return  # refused: see TransferringContract
        instance_uuid = await harness.create_guest(GuestWish(load=Load.DIRTYING))
        move = Move(harness, instance_uuid)
        await move.check_prepare_start(move.slowly(permit_post_copy=True))
        await move.wait_under_way()
        await move.switch_to_post_copy()
        await harness.break_post_copy(instance_uuid)
        await harness.wait_for(
            move.sides,
            lambda sides: sides.source is sides.destination is _S.POST_COPY_FAILED,
            "both sides say that post-copy has failed",
        )
        assert await move.verdict(truth.LastIntent.POST_COPY) is truth.Verdict.BROKEN_POST_COPY
        await move.wait_ended()
        # Called by mistake, they must not cost the guest.
        await harness.source_driver.clean_up_source(move.source_task, move.plan)
        await move.roll_back()
        sides = await move.sides()
        assert (sides.source, sides.destination) == (_S.POST_COPY_FAILED, _S.POST_COPY_FAILED)
        driver, resuming = harness.source_driver, (move.source_task, move.plan, move.slowly(permit_post_copy=True))
        if not harness.capabilities.post_copy_recovery:
            with pytest.raises(errors.Unsupported):
                await driver.resume_post_copy(*resuming)
            return

        async def is_resumed() -> bool:
            try:
                await driver.resume_post_copy(*resuming)
            except errors.TransferRefused:
                # Too early: a hypervisor may show the break before it has let go of the connection.
                return False
            return True

        await harness.wait_for(is_resumed, bool, "the post-copy is resumed")
        if (await driver.read_transfer(instance_uuid)).is_active:
            await driver.resume_post_copy(*resuming)
        await move.wait_ended()
        assert await move.verdict(truth.LastIntent.POST_COPY) is truth.Verdict.COMPLETED
        assert (await move.finish()).state is _S.RUNNING
        assert (await move.sides()).source is _S.ABSENT

    async def test_a_post_copy_that_is_not_broken_is_not_resumed(self, harness: Harness) -> None:
        move = Move(harness, await harness.create_guest(GuestWish()))
        await move.check()
        with pytest.raises(errors.NoActiveTransfer if harness.capabilities.post_copy_recovery else errors.Unsupported):
            await harness.source_driver.resume_post_copy(move.source_task, move.plan, move.slowly())
        assert (await move.sides()).source is _S.RUNNING


async def _ended(signals: list[base.Signal]) -> bool:
    return any(signal.kind is base.SignalKind.TRANSFER_ENDED for signal in signals)
