# SPDX-License-Identifier: Apache-2.0
"""What is promised of slots: counted from the rows, and never more taken than there are, however many take at once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable

import pytest

from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import admission
from wherry.model import operation, states
from wherry.testing.store_contract import harness as harnesses

LIMITS = admission.SlotLimits(outgoing=2, incoming=3, cluster=5)
ADMITTERS = 8
#: An operation in the queue, its source and its destination.
Place = tuple[str, str, str]


def fits(counts: admission.SlotCounts, limits: admission.SlotLimits = LIMITS) -> bool:
    """Whether one more migration may start."""
    return counts.outgoing < limits.outgoing and counts.incoming < limits.incoming and counts.cluster < limits.cluster


def admitting(operation_id: str, source: str, destination: str) -> stores.Unit[bool]:
    """Take slots for a queued migration if there are any, as the conductor does."""

    async def unit(uow: uows.UnitOfWork) -> bool:
        of = await uow.operations.get(operation_id)
        counts = await uow.slots.lock_and_count(source, destination, exclude_operation=of.id)
        if not fits(counts):
            return False
        await uow.operations.advance(of, operation.Transition(event=states.Event.ADMITTED))
        return True

    return unit


class SlotContract:
    """Counting and queueing."""

    async def test_slots_are_held_from_admission_to_the_end(self, harness: harnesses.Harness) -> None:
        moving = await harness.make_queued("host-a", "host-b")

        async def held() -> tuple[int, int, int]:
            counts = await harness.store.run(lambda uow: uow.slots.lock_and_count("host-a", "host-b"))
            return counts.outgoing, counts.incoming, counts.cluster

        assert await held() == (0, 0, 0)
        for event, expected in (
            (states.Event.ADMITTED, 1),
            (states.Event.TRANSFER_STARTED, 1),
            (states.Event.POST_COPY_STARTED, 1),
            (states.Event.ARRIVED, 0),
        ):
            moving = await harness.advance(moving, event)
            assert await held() == (expected, expected, expected)

    async def test_each_host_is_counted_in_its_own_direction(self, harness: harnesses.Harness) -> None:
        for source, destination in (("host-a", "host-b"), ("host-a", "host-c"), ("host-c", "host-b"), ("host-b", "host-a")):
            last = await harness.advance(await harness.make_queued(source, destination), states.Event.ADMITTED)
        counts = await harness.store.read(lambda uow: uow.slots.count("host-a", "host-b"))
        assert (counts.outgoing, counts.incoming, counts.cluster) == (2, 2, 4)
        counts = await harness.store.read(lambda uow: uow.slots.count("host-b", "host-a", exclude_operation=last.id))
        assert (counts.outgoing, counts.incoming, counts.cluster) == (0, 0, 3)

    async def test_claims_last_from_the_naming_to_the_end(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(host="host-a", memory_mib=700, vcpus=3, root_gib=4)
        await harness.make_host("host-b")

        async def claimed() -> tuple[int, int, int, int]:
            taken = (await harness.store.read(lambda uow: uow.hosts.get("host-b"))).usage
            return taken.memory_mib, taken.vcpus, taken.disk_gib, taken.incoming_migrations

        assert await claimed() == (0, 0, 0, 0)
        owned = await harness.advance(owned, operation.Transition(dest_compute="host-b"))
        assert await claimed() == (700, 3, 4, 1)
        other_size = await harness.server((await harness.make_queued("host-c", "host-b", memory_mib=300)).instance_uuid)
        assert await claimed() == (700 + 300, 3 + other_size.vcpus, 4 + other_size.root_gib, 2)
        await harness.advance(owned, states.Event.CHECK_FAILED)
        assert await claimed() == (300, other_size.vcpus, other_size.root_gib, 1)

    async def test_the_queue_says_who_waits_for_what(self, harness: harnesses.Harness) -> None:
        await harness.advance(await harness.make_queued("host-a", "host-b"), states.Event.ADMITTED)
        waiting = [await harness.make_queued(*hosts) for hosts in (("host-a", "host-c"), ("host-d", "host-b"), ("host-d", "host-c"))]
        waiting.append(await harness.make_queued("host-e", "host-c"))
        queue = await harness.store.read(lambda uow: uow.slots.queue(admission.SlotLimits(outgoing=1, incoming=1, cluster=9)))
        assert [(one.operation_id, one.position, one.waits_for) for one in queue] == [
            (waiting[0].id, 1, ("outgoing:host-a",)),
            (waiting[1].id, 2, ("incoming:host-b",)),
            (waiting[2].id, 3, ()),
            (waiting[3].id, 4, ("incoming:host-c",)),
        ]
        full = await harness.store.read(lambda uow: uow.slots.queue(admission.SlotLimits(cluster=1)))
        assert {one.waits_for for one in full} == {("cluster",)}
        free = await harness.store.read(lambda uow: uow.slots.queue())
        assert {one.waits_for for one in free} == {()}

    async def test_slots_that_are_given_back_go_to_the_first_who_can_use_them(self, harness: harnesses.Harness) -> None:
        giving = await harness.advance(await harness.make_queued("host-a", "host-b"), states.Event.ADMITTED)
        await harness.advance(await harness.make_queued("host-d", "host-e"), states.Event.ADMITTED)
        pairs = (("a", "e"), ("f", "b"), ("a", "g"), ("a", "b"), ("f", "g"), ("d", "b"), ("h", "b"))
        ids = [(await harness.make_queued(f"host-{source}", f"host-{into}")).id for source, into in pairs]
        given = admission.Given(operation_id=giving.id, source="host-a", destination="host-b")

        async def following(*, is_early: bool = False, **limits: int) -> list[str]:
            asked = admission.SlotLimits(**limits)
            found = await harness.store.look(lambda uow: uow.slots.next_for(given, asked, is_early=is_early))
            return [pairs[ids.index(one)][0] + pairs[ids.index(one)][1] for one in found]

        # host-e is full, host-d sends; nobody else waits for what is given back, and one host's only slot is told to one.
        both = ["fb", "ag"]
        assert await following(outgoing=1, incoming=1) == both
        assert await following(outgoing=1, incoming=1, cluster=2) == ["fb"]
        assert await following(outgoing=1, incoming=1, cluster=1) == []
        assert await following(outgoing=2, incoming=2) == ["ae", "fb", "ag", "db"]
        assert await following(outgoing=1, incoming=1, is_early=True) == ["ae", "fb"]
        giving = await harness.advance(giving, states.Event.TRANSFER_STARTED)
        # Asked before they are free, and after, the answer is the same.
        assert await following(outgoing=1, incoming=1) == both
        await harness.advance(giving, states.Event.ARRIVED)
        assert await following(outgoing=1, incoming=1) == both

    async def test_who_can_start_is_found_behind_those_who_wait_for_other_slots_too(self, harness: harnesses.Harness) -> None:
        giving = await harness.advance(await harness.make_queued("host-a", "host-b"), states.Event.ADMITTED)
        await harness.advance(await harness.make_queued("host-d", "host-e"), states.Event.ADMITTED)
        # It is still being checked, and holds nothing.
        checked = await harness.make_owned(host="host-c")
        await harness.advance(checked, operation.Transition(dest_compute="host-g"))
        for hosts in (("host-a", "host-e"), ("host-d", "host-b")):
            for _ in range(admission.MOST_NEXT):
                await harness.make_queued(*hosts)
        leaving, entering = await harness.make_queued("host-a", "host-g"), await harness.make_queued("host-c", "host-b")
        given = admission.Given(operation_id=giving.id, source="host-a", destination="host-b")

        async def following(limits: admission.SlotLimits) -> list[str]:
            return await harness.store.look(lambda uow: uow.slots.next_for(given, limits))

        assert await following(admission.SlotLimits(outgoing=1, incoming=1)) == [leaving.id, entering.id]
        # With room for everybody, some of those at each end are told, and the others by those.
        assert len(await following(admission.SlotLimits())) == 2 * admission.MOST_NEXT

    async def test_an_abort_of_who_takes_slots_is_seen_with_the_count(self, harness: harnesses.Harness) -> None:
        of, other = await harness.make_queued("host-a", "host-b"), await harness.make_queued("host-a", "host-b")

        async def is_asked() -> bool:
            return (await harness.store.run(lambda uow: uow.slots.lock_and_count("host-a", "host-b", of.id))).is_abort_asked

        await harness.store.run(lambda uow: uow.operations.record_intent(other.id, operation.IntentKind.ABORT, request_id="req-1"))
        await harness.store.run(lambda uow: uow.operations.record_intent(of.id, operation.IntentKind.FORCE_COMPLETE, request_id="req-2"))
        assert not await is_asked()
        intent = await harness.store.run(lambda uow: uow.operations.record_intent(of.id, operation.IntentKind.ABORT, request_id="req-3"))
        assert await is_asked()
        await harness.store.run(lambda uow: uow.operations.acknowledge_intent(intent))
        assert not await is_asked()


async def make_queue(harness: harnesses.Harness) -> list[Place]:
    """Queue two migrations from each of four hosts to each other one."""
    for name in "abcd":
        await harness.make_host(f"host-{name}")
    pairs = [(f"host-{source}", f"host-{destination}") for source in "abcd" for destination in "abcd" if source != destination]
    return [((await harness.make_queued(*pair)).id, *pair) for pair in pairs for _ in range(2)]


async def _at_once(harness: harnesses.Harness, work: Callable[[int, stores.Store], Awaitable[None]]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(harness.another_store()) for _ in range(ADMITTERS)]
        await asyncio.gather(*(work(number, store) for number, store in enumerate(opened)))


class AdmissionContract:
    """Eight conductors admit at once, each what it owns, over connections of its own."""

    async def test_eight_admitters_never_exceed_a_cap(self, harness: harnesses.Harness) -> None:
        queue = await make_queue(harness)
        overshoots: list[admission.SlotCounts] = []
        admitted: set[str] = set()

        async def admit(number: int, store: stores.Store) -> None:
            for place in (*queue[number::ADMITTERS], *queue[number::ADMITTERS]):
                if place[0] not in admitted and await store.run(admitting(*place)):
                    admitted.add(place[0])
                    counts = await store.read(_counting(place))
                    if any(getattr(counts, name) > getattr(LIMITS, name) for name in ("outgoing", "incoming", "cluster")):
                        overshoots.append(counts)

        await _at_once(harness, admit)
        assert not overshoots
        assert len(admitted) == LIMITS.cluster
        assert (await harness.store.read(_counting(queue[0]))).cluster == LIMITS.cluster

    async def test_slots_that_come_free_are_taken_again_and_all_get_through(self, harness: harnesses.Harness) -> None:
        queue = await make_queue(harness)
        left = list(queue)
        most = 0

        async def work(_number: int, store: stores.Store) -> None:
            nonlocal most
            while left:
                place = left.pop(0)
                if not await store.run(admitting(*place)):
                    left.append(place)
                    await asyncio.sleep(0)
                    continue
                most = max(most, (await store.read(_counting(place))).cluster)
                await store.run(_completing(place[0]))

        await _at_once(harness, work)
        ended = await harness.store.read(lambda uow: uow.migrations.list())
        assert [one.status for one in ended] == [states.Status.COMPLETED] * len(queue)
        assert 0 < most <= LIMITS.cluster


class OvershootContract:
    """The caps hold because of the lock. For databases on which transactions of one process interleave."""

    async def test_counting_without_the_lock_exceeds_the_cap(self, harness: harnesses.Harness) -> None:
        queue = await make_queue(harness)
        all_have_counted = asyncio.Barrier(ADMITTERS)

        async def admit(number: int, store: stores.Store) -> None:
            of, source, destination = queue[number]

            async def unit(uow: uows.UnitOfWork) -> None:
                current = await uow.operations.get(of)
                counts = await uow.slots.count(source, destination, exclude_operation=of)
                await all_have_counted.wait()
                if fits(counts):
                    await uow.operations.advance(current, operation.Transition(event=states.Event.ADMITTED))

            await store.run(unit)

        await _at_once(harness, admit)
        assert (await harness.store.read(_counting(queue[0]))).cluster == ADMITTERS > LIMITS.cluster

    @pytest.mark.parametrize(
        ("other", "with_cluster", "is_behind"),
        [
            (("host-c", "host-d"), True, True),
            (("host-a", "host-d"), False, True),
            (("host-c", "host-b"), False, True),
            (("host-c", "host-d"), False, False),
        ],
        ids=["any in a limited cluster", "same source", "same destination", "other hosts"],
    )
    async def test_who_counts_sees_what_one_before_has_taken(
        self, harness: harnesses.Harness, other: tuple[str, str], with_cluster: bool, is_behind: bool
    ) -> None:
        for name in "abcd":
            await harness.make_host(f"host-{name}")
        of = await harness.make_queued("host-a", "host-b")
        has_locked, has_counted = asyncio.Event(), asyncio.Event()

        async def take(uow: uows.UnitOfWork) -> None:
            await uow.slots.lock_and_count("host-a", "host-b", of.id, with_cluster=with_cluster)
            has_locked.set()
            # The other has the time to count before this is stored, if nothing keeps it.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(has_counted.wait(), timeout=0.2 if is_behind else 5)
            await uow.operations.advance(of, operation.Transition(event=states.Event.ADMITTED))

        async def count(uow: uows.UnitOfWork) -> admission.SlotCounts:
            counts = await uow.slots.lock_and_count(*other, with_cluster=with_cluster)
            has_counted.set()
            return counts

        taking = asyncio.create_task(harness.store.run(take))
        await has_locked.wait()
        counts = await harness.store.run(count)
        await taking
        assert counts.cluster == is_behind


class ProcessContract:
    """The same with eight processes."""

    async def test_eight_processes_never_exceed_a_cap(self, harness: harnesses.Harness) -> None:
        assert await _admit_by_processes(harness, "locked") == LIMITS.cluster


class ProcessOvershootContract:
    """The caps hold because count and advance are one transaction. For databases on which only processes interleave."""

    async def test_eight_processes_that_count_in_a_transaction_of_its_own_exceed_the_cap(self, harness: harnesses.Harness) -> None:
        assert await _admit_by_processes(harness, "unlocked") == ADMITTERS > LIMITS.cluster


async def _admit_by_processes(harness: harnesses.Harness, how: str) -> int:
    queue = await make_queue(harness)
    await harness.store.close()
    # These processes have nothing else to do: on SQLite they may stand and wait for one another.
    options = dataclasses.asdict(harness.config) | {"sqlite_busy_timeout_seconds": 5.0}
    arguments = ("-m", f"{__package__}.admitter", json.dumps(options), how)
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, json.dumps(queue[number::ADMITTERS]), stdin=pipe, stdout=pipe)
        for number in range(ADMITTERS)
    ]
    try:
        # Nobody goes on before everybody has come so far: when ready, and, without the lock, after counting.
        for _ in range(2 if how == "unlocked" else 1):
            for process in processes:
                assert process.stdout is not None
                assert await process.stdout.readline(), f"an admitter ended early: {await process.wait()}"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"go on\n")
        assert [await process.wait() for process in processes] == [0] * ADMITTERS
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return (await harness.store.read(_counting(queue[0]))).cluster


def _counting(place: Place) -> stores.Unit[admission.SlotCounts]:
    return lambda uow: uow.slots.count(place[1], place[2])


def _completing(of: str) -> stores.Unit[None]:
    async def unit(uow: uows.UnitOfWork) -> None:
        current = await uow.operations.get(of)
        for event in (states.Event.TRANSFER_STARTED, states.Event.ARRIVED):
            current, _ = await uow.operations.advance(current, operation.Transition(event=event))

    return unit
