# SPDX-License-Identifier: Apache-2.0
"""Contract: a guest is sent and arrives, with its disks, paused if it was, and each method may be called twice."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from wherry import errors
from wherry.drivers import base
from wherry.model import guest, migration, truth
from wherry.testing.driver_contract.harness import GuestWish, Harness, Load, Storage
from wherry.testing.driver_contract.move import Move, sent_bytes

#: Enough for any guest of the harness to switch over once nothing limits the bandwidth.
_AMPLE = base.TransferOptions(downtime_ms=500)


class TransferringContract:
    """Prepare, send, finish."""

    async def test_a_guest_on_shared_storage_arrives_with_each_method_called_twice(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish(storage=Storage.SHARED))
        move = Move(harness, instance_uuid)
        files = await harness.files(harness.destination)
        signals: list[base.Signal] = []
        unsubscribe = harness.source_driver.subscribe(signals.append)
        await move.check()
        await move.prepare()
        await move.prepare()
        await move.start(_AMPLE)
        ended = await move.wait_ended()
        assert await move.verdict() is truth.Verdict.COMPLETED
        arrived = await move.finish()
        assert await move.finish() == arrived
        assert (arrived.uuid, arrived.state) == (instance_uuid, guest.GuestState.RUNNING)
        assert arrived.is_persistent and not arrived.is_incoming and not arrived.active_job
        assert await harness.source_driver.describe_guests([instance_uuid]) == []
        assert await harness.files(harness.destination) == files
        assert ended.call_error == ""
        await harness.wait_for(lambda: _ended(signals), bool, "the signal that the transfer has ended")
        unsubscribe()

    async def test_a_private_disk_is_named_then_made_then_copied_and_kept_at_the_source(self, harness: Harness) -> None:
        if not harness.capabilities.storage_copy:
            return  # refused by the check: see CheckingContract
        move = Move(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        await move.check()
        before = await harness.files(harness.destination)
        kept = await harness.files(harness.source)
        already = set(move.created_at_destination.named)
        move.created_at_destination.forget_before()
        await move.prepare()
        made = await harness.files(harness.destination) - before
        assert len(made) == 1
        assert made <= move.created_at_destination.named - already, "a file is named before it is made"
        assert move.created_at_destination.files_before == before, "when it was named it did not exist yet"
        await move.start(_AMPLE)
        await move.wait_ended()
        assert await move.verdict() is truth.Verdict.COMPLETED
        arrived = await move.finish()
        assert {disk.source for disk in arrived.disks if disk.device == "disk"} == made
        assert await harness.files(harness.source) == kept, "the source's disk is nobody's to delete"

    async def test_a_paused_guest_arrives_paused(self, harness: Harness) -> None:
        move = Move(harness, await harness.create_guest(GuestWish(is_paused=True)))
        if not harness.capabilities.paused_guests:
            with pytest.raises(errors.CapabilityMissing):
                await move.check()
            return
        await move.check_prepare_start(_AMPLE)
        await move.wait_ended()
        assert await move.verdict() is truth.Verdict.COMPLETED
        assert (await move.finish()).state is guest.GuestState.PAUSED
        assert (await move.sides()).destination is guest.GuestState.PAUSED

    async def test_counters_only_grow_and_new_limits_let_a_stuck_copy_end(self, harness: Harness) -> None:
        flags = harness.capabilities
        instance_uuid = await harness.create_guest(GuestWish(load=Load.DIRTYING))
        move = Move(harness, instance_uuid)
        await move.check_prepare_start(move.slowly())
        first = await move.wait_under_way()
        later = await harness.wait_for(
            lambda: harness.source_driver.read_transfer(instance_uuid),
            lambda transfer: not flags.progress or sent_bytes(transfer) > sent_bytes(first),
            "more is sent",
        )
        assert later.is_active and not later.is_post_copy
        assert (later.progress is not None) is flags.progress
        if later.progress is not None:
            assert 0 < later.progress.memory_remaining_bytes <= later.progress.memory_total_bytes
            assert later.progress.iteration >= (first.progress.iteration if first.progress else 0)
        driver = harness.source_driver
        await _tuned_or_refused(driver.tune_transfer(instance_uuid, bandwidth_mib_per_s=10_000), flags.bandwidth_change)
        await _tuned_or_refused(driver.tune_transfer(instance_uuid, downtime_ms=10_000), flags.downtime_change)
        if flags.bandwidth_change and flags.downtime_change:
            ended = await move.wait_ended()
            assert await move.verdict() is truth.Verdict.COMPLETED
            assert ended.progress is None or sent_bytes(ended) >= sent_bytes(later)

    async def test_without_a_transfer_there_is_nothing_to_steer(self, harness: Harness) -> None:
        flags, driver = harness.capabilities, harness.source_driver
        instance_uuid = await harness.create_guest(GuestWish())
        assert not (await driver.read_transfer(instance_uuid)).is_active
        with pytest.raises(errors.NoActiveTransfer if flags.abort else errors.Unsupported):
            await driver.abort_transfer(instance_uuid)
        with pytest.raises(errors.NoActiveTransfer if flags.downtime_change else errors.Unsupported):
            await driver.tune_transfer(instance_uuid, downtime_ms=100)
        with pytest.raises(errors.NoActiveTransfer if flags.bandwidth_change else errors.Unsupported):
            await driver.tune_transfer(instance_uuid, bandwidth_mib_per_s=100)
        with pytest.raises(errors.NoActiveTransfer if flags.force_complete_by_post_copy else errors.Unsupported):
            await driver.start_post_copy(instance_uuid)
        await driver.resume_guest(instance_uuid)
        assert (await driver.observe_guest(instance_uuid)).state is guest.GuestState.RUNNING
        await driver.clean_up_source(Move(harness, instance_uuid).source_task, migration.Plan(source=harness.source.name))
        assert (await driver.observe_guest(instance_uuid)).state is guest.GuestState.RUNNING, "a running guest is no stale domain"


async def _ended(signals: list[base.Signal]) -> bool:
    return any(signal.kind is base.SignalKind.TRANSFER_ENDED for signal in signals)


async def _tuned_or_refused(tuning: Awaitable[None], is_promised: bool) -> None:
    if is_promised:
        await tuning
    else:
        with pytest.raises(errors.Unsupported):
            await tuning
