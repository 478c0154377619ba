# SPDX-License-Identifier: Apache-2.0
"""Who is woken when slots are given back, and who is left alone, without a look at the whole queue."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tests.unit.conductor import conftest
from wherry import config as configs
from wherry.conductor import drive, queue
from wherry.model import migration, operation, states
from wherry.testing.store_contract import harness as harnesses


class Line:
    """A queue, and those that wait in it for one slot out of each host, and one into each."""

    def __init__(self, harness: harnesses.Harness) -> None:
        self._harness = harness
        self.waiting: dict[str, tuple[drive.Drive, asyncio.Event]] = {}
        limits = configs.DefaultSection(max_concurrent_live_migrations=1, max_concurrent_incoming_live_migrations=1)
        self.queue = queue.Queue(
            store=harness.store,
            others=conftest.client(),
            conductor_id="conductor-1",
            clock=harness.clock,
            config=configs.Config(default=limits),
            waiters=queue.Waiters(everybody=lambda: self.waiting, one=self.waiting.get),
        )

    async def join(self, source: str, destination: str) -> migration.Migration:
        """Queue one more."""
        on = await conftest.driven(self._harness, await self._harness.make_queued(source, destination))
        self.waiting[on.operation.id] = (on, asyncio.Event())
        return on.migration

    async def until_woken(self, record: migration.Migration) -> drive.Drive:
        """Wait until this one is woken; gives what it goes on with."""
        on, alarm = self.waiting[record.uuid]
        async with asyncio.timeout(5):
            await alarm.wait()
        return on


@pytest.mark.parametrize(
    ("before", "now", "destination"),
    [
        (states.Status.RUNNING, states.Status.COMPLETED, "host-b"),
        (states.Status.PREPARING, states.Status.FAILED, "host-b"),
        # It was next, perhaps, and takes them no longer.
        (states.Status.QUEUED, states.Status.CANCELLED, "host-b"),
        (states.Status.QUEUED, states.Status.QUEUED, "host-c"),
    ],
    ids=["ended", "undone", "aborted in the queue", "goes elsewhere"],
)
async def test_what_is_given_back_wakes_who_is_next(
    harness: harnesses.Harness, before: states.Status, now: states.Status, destination: str
) -> None:
    line = Line(harness)
    first, other = await line.join("host-d", "host-b"), await line.join("host-d", "host-e")
    giving = dataclasses.replace(first, uuid="giving", source_compute="host-a", dest_compute="host-b", status=before)
    line.queue.follow(giving, dataclasses.replace(giving, status=now, dest_compute=destination), None)
    assert (await line.until_woken(first)).free_within_seconds == 0
    assert not line.waiting[other.uuid][1].is_set(), "none of the slots that it waits for was given back"
    await line.queue.stop()


async def test_who_is_next_for_slots_that_will_be_free_is_told_when_they_are(harness: harnesses.Harness) -> None:
    line = Line(harness)
    first = await line.join("host-d", "host-b")
    on, alarm = line.waiting[first.uuid]
    checked_at = harness.clock.now()
    on.operation = dataclasses.replace(on.operation, plan=dataclasses.replace(on.plan, checked_at=checked_at))
    harness.clock.advance(on.config.conductor.check_ttl_seconds)
    giving = dataclasses.replace(first, uuid="giving", source_compute="host-a", status=states.Status.RUNNING)
    line.queue.follow(giving, giving, operation.StepName.SETTLE)
    assert ((await line.until_woken(first)).free_within_seconds or 0) > 0, "its checks will be too old by then"
    alarm.clear()
    before = harness.engine.statements
    line.queue.follow(giving, dataclasses.replace(giving, status=states.Status.COMPLETED), operation.StepName.DONE)
    assert alarm.is_set(), "it is known who that is"
    assert (on.free_within_seconds, harness.engine.statements) == (0, before)
    await line.queue.stop()


async def test_who_may_be_next_is_told_as_a_transfer_starts_though_its_other_end_is_full(harness: harnesses.Harness) -> None:
    line = Line(harness)
    first = await line.join("host-a", "host-e")
    await harness.advance(await harness.make_queued("host-d", "host-e"), states.Event.ADMITTED)
    on, _ = line.waiting[first.uuid]
    on.operation = dataclasses.replace(on.operation, plan=dataclasses.replace(on.plan, checked_at=harness.clock.now()))
    harness.clock.advance(on.config.conductor.check_ttl_seconds)
    giving = dataclasses.replace(first, uuid="giving", dest_compute="host-b", status=states.Status.PREPARING)
    line.queue.follow(giving, dataclasses.replace(giving, status=states.Status.RUNNING), operation.StepName.TRANSFER)
    assert ((await line.until_woken(first)).free_within_seconds or 0) > 0
    await line.queue.stop()


async def test_whose_checks_will_hold_is_not_woken_before_slots_are_free(harness: harnesses.Harness) -> None:
    line = Line(harness)
    first = await line.join("host-d", "host-b")
    line.queue.wake([first.uuid], within_seconds=0.5)
    assert not line.waiting[first.uuid][1].is_set()
    line.queue.wake([first.uuid])
    assert line.waiting[first.uuid][1].is_set()
