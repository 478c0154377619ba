# SPDX-License-Identifier: Apache-2.0
"""Contract: checks say yes or no, class the disks, and change nothing."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.model import migration
from wherry.testing.driver_contract.harness import GuestWish, Harness, Storage
from wherry.testing.driver_contract.move import Move


class CheckingContract:
    """Check at the destination, check at the source, release."""

    async def test_checks_twice_change_nothing_and_class_a_private_disk_as_copied(self, harness: Harness) -> None:
        move = Move(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        before = [await harness.snapshot(harness.source), await harness.snapshot(harness.destination)]
        first = await move.check_destination()
        facts = await move.check_destination()
        assert first.host == facts.host == harness.destination.name
        assert facts.probes, "a directory with a disk of the guest is probed"
        assert facts.capabilities == harness.capabilities
        named = {probe.name for probe in facts.probes}
        assert any(name in created for name in named for created in move.created_at_destination.named), "a probe is named before it is made"
        for _ in range(2):
            if harness.capabilities.storage_copy:
                plan = await move.check_source(facts)
                assert [disk.treatment for disk in plan.disks if disk.disk.device == "disk"] == [migration.Treatment.COPIED]
            else:
                with pytest.raises(errors.CapabilityMissing):
                    await move.check_source(facts)
        await move.release(first)
        await move.release(facts)
        await move.release(facts)
        assert [await harness.snapshot(harness.source), await harness.snapshot(harness.destination)] == before

    async def test_a_shared_disk_is_classed_as_shared_and_not_copied_on_demand(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish(storage=Storage.SHARED))
        move = Move(harness, instance_uuid)
        before = await harness.snapshot(harness.destination)
        plan = await move.check()
        assert plan.storage is not None and not plan.storage.is_block_migration
        assert [disk.treatment for disk in plan.storage.disks if disk.disk.device == "disk"] == [migration.Treatment.SHARED]
        insisting = Move(harness, instance_uuid, migration.LiveMigrationRequest(block_migration=True))
        with pytest.raises(errors.StorageShared):
            await insisting.check()
        assert await harness.snapshot(harness.destination) == before

    async def test_a_private_disk_is_not_left_behind_on_demand(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish(storage=Storage.PRIVATE))
        before = await harness.snapshot(harness.destination)
        move = Move(harness, instance_uuid, migration.LiveMigrationRequest(block_migration=False))
        with pytest.raises(errors.StorageNotShared):
            await move.check()
        assert await harness.snapshot(harness.destination) == before

    async def test_a_host_that_has_the_guest_already_says_so_and_keeps_no_probe(self, harness: Harness) -> None:
        move = Move(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        before = await harness.snapshot(harness.source)
        described = await harness.source_driver.describe_host()
        with pytest.raises(errors.DomainPresent):
            await harness.source_driver.check_destination(move.destination_task, await move.leaving(), move.request, described)
        assert await harness.snapshot(harness.source) == before
