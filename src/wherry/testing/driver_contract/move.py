# SPDX-License-Identifier: Apache-2.0
"""One migration taken through its steps by hand, as conductor and agents would, for the contract suite.

Judges nothing itself: the tests assert, the truth table of the model gives the verdict.
"""

from __future__ import annotations

import uuid

from wherry.drivers import base
from wherry.model import guest, migration, truth
from wherry.testing.driver_contract import harness as harness_module


class Move:
    """One migration of one guest from the harness's source to its destination."""

    def __init__(self, harness: harness_module.Harness, instance_uuid: str, request: migration.LiveMigrationRequest | None = None) -> None:
        self.harness = harness
        self.instance_uuid = instance_uuid
        self.operation_id = str(uuid.uuid4())
        self.request = request or migration.LiveMigrationRequest(host=harness.destination.name)
        #: What the source and the destination said they would create.
        self.created_at_source = harness_module.Recorder(lambda: harness.files(harness.source))
        self.created_at_destination = harness_module.Recorder(lambda: harness.files(harness.destination))
        self.plan = migration.Plan(source=harness.source.name, destination=harness.destination.name)

    @property
    def source_task(self) -> base.Task:
        """The task as the source's driver is given it."""
        return self._task(self.created_at_source)

    @property
    def destination_task(self) -> base.Task:
        """The task as the destination's driver is given it."""
        return self._task(self.created_at_destination)

    def _task(self, recorder: harness_module.Recorder) -> base.Task:
        return base.Task(
            operation_id=self.operation_id,
            instance_uuid=self.instance_uuid,
            record_created=recorder.record,
            created=frozenset(recorder.named),
        )

    async def leaving(self) -> guest.Guest:
        """Describe the guest at the source."""
        (found,) = await self.harness.source_driver.describe_guests([self.instance_uuid])
        return found

    async def check_destination(self) -> migration.DestinationFacts:
        """Run the destination's check."""
        source = await self.harness.source_driver.describe_host()
        return await self.harness.destination_driver.check_destination(self.destination_task, await self.leaving(), self.request, source)

    async def check_source(self, facts: migration.DestinationFacts) -> migration.StoragePlan:
        """Run the source's check."""
        return await self.harness.source_driver.check_source(self.source_task, await self.leaving(), self.request, facts)

    async def check_source_as_planned(self) -> migration.StoragePlan:
        """Run the source's check again with what the plan holds."""
        if self.plan.guest is None or self.plan.facts is None:
            raise AssertionError("check() comes first")
        return await self.harness.source_driver.check_source(self.source_task, self.plan.guest, self.request, self.plan.facts)

    async def release(self, facts: migration.DestinationFacts) -> None:
        """Remove the probes of the destination's check."""
        await self.harness.destination_driver.release_check(self.destination_task, facts.probes)

    async def check(self) -> migration.Plan:
        """Run both checks, remove the probes, and make the plan."""
        leaving = await self.leaving()
        facts = await self.check_destination()
        try:
            storage = await self.check_source(facts)
        finally:
            await self.release(facts)
        self.plan = migration.Plan(
            source=self.harness.source.name,
            destination=self.harness.destination.name,
            guest=leaving,
            facts=facts,
            storage=storage,
        )
        return self.plan

    async def prepare(self) -> None:
        """Make the destination ready."""
        await self.harness.destination_driver.prepare_destination(self.destination_task, self.plan)

    async def start(self, options: base.TransferOptions) -> None:
        """Start the transfer."""
        await self.harness.source_driver.start_transfer(self.source_task, self.plan, options)

    async def check_prepare_start(self, options: base.TransferOptions) -> None:
        """Do all that comes before the copy, and start it."""
        await self.check()
        await self.prepare()
        await self.start(options)

    def slowly(self, *, downtime_ms: int = 1, permit_post_copy: bool = False) -> base.TransferOptions:
        """Give options with which the copy of a DIRTYING guest goes on until something is done about it."""
        return base.TransferOptions(
            downtime_ms=downtime_ms, bandwidth_mib_per_s=self.harness.slow_mib_per_s, permit_post_copy=permit_post_copy
        )

    async def wait_under_way(self) -> base.Transfer:
        """Wait until a job is under way and some memory or disk has been sent, where the driver shows counters."""
        return await self.harness.wait_for(
            lambda: self.harness.source_driver.read_transfer(self.instance_uuid),
            lambda transfer: transfer.is_active and (not self.harness.capabilities.progress or sent_bytes(transfer) > 0),
            "the copy is under way",
        )

    async def switch_to_post_copy(self) -> None:
        """Switch, and wait until the switch is seen or is over."""
        await self.harness.source_driver.start_post_copy(self.instance_uuid)
        await self.harness.wait_for(
            lambda: self.harness.source_driver.read_transfer(self.instance_uuid),
            lambda transfer: transfer.is_post_copy or not transfer.is_active,
            "the copy is in post-copy",
        )

    async def wait_ended(self) -> base.Transfer:
        """Wait until the source has no job for the guest any more."""
        return await self.harness.wait_for(
            lambda: self.harness.source_driver.read_transfer(self.instance_uuid),
            lambda transfer: not transfer.is_active,
            "the transfer has ended",
        )

    async def sides(self) -> truth.Sides:
        """Read both sides, as the conductor does to learn the outcome."""
        source = await self.harness.source_driver.observe_guest(self.instance_uuid)
        destination = await self.harness.destination_driver.observe_guest(self.instance_uuid)
        return truth.Sides(source=source.state, destination=destination.state, has_job=source.has_job or destination.has_job)

    async def verdict(self, intent: truth.LastIntent = truth.LastIntent.NONE) -> truth.Verdict:
        """Wait until the truth table gives a verdict other than to wait, and give it."""

        async def read() -> truth.Verdict:
            return truth.verdict(await self.sides(), intent)

        return await self.harness.wait_for(read, lambda verdict: verdict is not truth.Verdict.WAIT, "both sides can be judged")

    async def finish(self) -> guest.Guest:
        """Make the arrived guest the destination's own and clean up the source."""
        arrived = await self.harness.destination_driver.finish_destination(self.destination_task, self.plan)
        await self.harness.source_driver.clean_up_source(self.source_task, self.plan)
        return arrived

    async def roll_back(self) -> None:
        """Undo at the destination."""
        await self.harness.destination_driver.roll_back_destination(self.destination_task, self.plan)


def sent_bytes(transfer: base.Transfer) -> int:
    """Give the bytes of memory and disk that were sent; 0 where there are no counters."""
    counters = transfer.progress
    return counters.memory_processed_bytes + counters.disk_processed_bytes if counters else 0
