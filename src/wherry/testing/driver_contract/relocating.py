# SPDX-License-Identifier: Apache-2.0
"""Contract: a guest is moved while it is off, made another size, given up at its source or taken up there again; twice as well as once."""

from __future__ import annotations

import dataclasses

import pytest

from wherry import errors
from wherry.model import guest, migration
from wherry.testing.driver_contract.harness import GuestWish, Harness, Storage
from wherry.testing.driver_contract.move import Move

_S = guest.GuestState
_MORE_MIB = 64


class _ColdMove(Move):
    """One cold migration or resize of one guest, taken through its steps by hand."""

    async def plan_it(self, *, is_larger: bool = False) -> None:
        """Run the checks and make the plan."""
        leaving = await self.leaving()
        facts = await self.check_destination()
        old = migration.Size(memory_mib=leaving.memory_mib, vcpus=leaving.vcpus, root_gib=leaving.root_gib)
        new = dataclasses.replace(old, memory_mib=old.memory_mib + _MORE_MIB, vcpus=old.vcpus + 1, root_gib=old.root_gib + 1)
        self.plan = dataclasses.replace(self.plan, guest=leaving, facts=facts, old_size=old, new_size=new if is_larger else old)
        try:
            found = await self.harness.source_driver.check_departure(self.source_task, self.plan)
        finally:
            await self.release(facts)
        self.plan = dataclasses.replace(self.plan, storage=found.storage, has_autostart=found.has_autostart, was_running=True)

    async def carry(self) -> None:
        """Do everything but start the guest, each stage twice."""
        for _ in range(2):
            await self.harness.destination_driver.prepare_arrival(self.destination_task, self.plan)
        for _ in range(2):
            off = await self.harness.source_driver.retire_guest(self.source_task, self.plan)
        if self.plan.guest is not None:
            self.plan = dataclasses.replace(self.plan, guest=dataclasses.replace(self.plan.guest, definition=off.definition))
        for _ in range(2):
            await self.harness.source_driver.send_disks(self.source_task, self.plan, lambda _counters: None)
        for _ in range(2):
            await self.harness.destination_driver.receive_guest(self.destination_task, self.plan)

    @property
    def sent(self) -> set[str]:
        """Paths of the disks that are sent."""
        return {disk.source for disk in self.plan.storage.copied} if self.plan.storage is not None else set()

    async def states(self) -> tuple[guest.GuestState, guest.GuestState]:
        """Give the guest's state at both hosts."""
        sides = await self.sides()
        return sides.source, sides.destination


class RelocatingContract:
    """Depart, arrive, go back, give up."""

    async def test_a_guest_that_is_off_is_moved_and_given_up_at_its_source(self, harness: Harness) -> None:
        move = _ColdMove(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        if not harness.capabilities.cold_migration:
            with pytest.raises((errors.Unsupported, errors.CapabilityMissing)):
                await move.plan_it()
            return
        files = await harness.files(harness.source)
        before = await harness.files(harness.destination)
        await move.plan_it()
        assert await harness.files(harness.destination) == before and await move.states() == (_S.RUNNING, _S.ABSENT)
        await move.carry()
        assert await move.states() == (_S.SHUT_OFF, _S.SHUT_OFF), "neither host starts it by itself"
        assert await harness.files(harness.source) == files
        made = await harness.files(harness.destination) - before
        assert made and made <= move.created_at_destination.named
        await harness.destination_driver.start_guest(move.instance_uuid)
        arrived = await harness.destination_driver.receive_guest(move.destination_task, move.plan)
        assert arrived.uuid == move.instance_uuid and await move.states() == (_S.SHUT_OFF, _S.RUNNING), "a late command changes nothing"
        for _ in range(2):
            assert set(await harness.source_driver.release_guest(move.source_task, move.plan, ())) == move.sent
        assert await move.states() == (_S.ABSENT, _S.RUNNING)
        assert await harness.files(harness.source) == files, "what nobody says is ours stays"
        owned = move.sent
        assert owned
        assert await harness.source_driver.release_guest(move.source_task, move.plan, owned) == ()
        assert await harness.files(harness.source) == files - owned

    async def test_a_larger_guest_goes_back_to_what_it_was(self, harness: Harness) -> None:
        if not harness.capabilities.cold_migration:
            return  # refused: see the test above
        move = _ColdMove(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        there, here = await harness.snapshot(harness.destination), await harness.files(harness.source)
        await move.plan_it(is_larger=True)
        was = move.plan.guest
        await move.carry()
        await harness.destination_driver.start_guest(move.instance_uuid)
        (grown,) = await harness.destination_driver.describe_guests([move.instance_uuid])
        assert was is not None and (grown.memory_mib, grown.vcpus) == (was.memory_mib + _MORE_MIB, was.vcpus + 1)
        assert grown.root_gib == was.root_gib + 1
        with pytest.raises(errors.HypervisorFailure):
            await harness.destination_driver.release_guest(move.destination_task, move.plan, ())
        await harness.destination_driver.power_off_guest(move.instance_uuid)
        for _ in range(2):
            kept = await harness.source_driver.restore_guest(move.source_task, move.plan)
            assert (kept.memory_mib, kept.vcpus) == (was.memory_mib, was.vcpus)
        await harness.source_driver.start_guest(move.instance_uuid)
        for _ in range(2):
            await harness.destination_driver.discard_guest(move.destination_task, move.plan)
        assert await move.states() == (_S.RUNNING, _S.ABSENT)
        assert await harness.snapshot(harness.destination) == there
        assert await harness.files(harness.source) == here

    async def test_what_came_is_removed_also_while_it_runs(self, harness: Harness) -> None:
        if not harness.capabilities.cold_migration:
            return  # refused: see the first test
        move = _ColdMove(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        placed = await harness.place_file(harness.destination)
        await move.plan_it()
        await move.carry()
        await harness.destination_driver.start_guest(move.instance_uuid)
        await harness.destination_driver.discard_guest(move.destination_task, move.plan)
        assert await move.states() == (_S.SHUT_OFF, _S.ABSENT)
        assert placed in await harness.files(harness.destination), "somebody else's file is theirs"

    async def test_a_disk_that_is_there_already_is_nobodys_to_replace(self, harness: Harness) -> None:
        if not harness.capabilities.cold_migration:
            return  # refused: see the first test
        move = _ColdMove(harness, await harness.create_guest(GuestWish(storage=Storage.PRIVATE)))
        await move.plan_it()
        await harness.destination_driver.prepare_arrival(move.destination_task, move.plan)
        files = await harness.files(harness.destination)
        other = _ColdMove(harness, move.instance_uuid)
        other.plan = move.plan
        with pytest.raises(errors.PreparationFailed):
            await harness.destination_driver.prepare_arrival(other.destination_task, other.plan)
        assert other.created_at_destination.named == set() and await harness.files(harness.destination) == files
        await harness.destination_driver.discard_guest(move.destination_task, move.plan)

    async def test_a_shared_disk_is_not_sent(self, harness: Harness) -> None:
        if not harness.capabilities.cold_migration:
            return  # refused: see the first test
        move = _ColdMove(harness, await harness.create_guest(GuestWish(storage=Storage.SHARED)))
        await move.plan_it()
        assert move.plan.storage is not None and move.plan.storage.copied == ()
        await move.carry()
        await harness.destination_driver.start_guest(move.instance_uuid)
        assert await move.states() == (_S.SHUT_OFF, _S.RUNNING)
        assert await harness.source_driver.release_guest(move.source_task, move.plan, ()) == ()
