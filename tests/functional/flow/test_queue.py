# SPDX-License-Identifier: Apache-2.0
"""Slots: who waits in `queued`, for what, and what happens to those who wait."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools

import pytest

from tests.functional.flow import asking, conftest
from wherry.db import uow as uows
from wherry.drivers import simulated
from wherry.model import operation, states
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
#: No limit but the one that a test sets.
_FREE = {
    "max_concurrent_live_migrations": 0,
    "max_concurrent_incoming_live_migrations": 0,
    "max_concurrent_live_migrations_cluster": 0,
}
#: So long that nobody is helped by a look at the whole queue.
_NO_POLL = {"queue_poll_interval_seconds": 10_000.0}


def _add(world: simulated.World, host: str, *names: str, memory_mib: int = 1024) -> None:
    for name in names:
        world.add_guest(host, name, memory_mib=memory_mib, disks=(conftest.disk(f"/shared/{name}.raw"),))


def _slow(world: simulated.World, *hosts: str) -> None:
    for host in hosts:
        simulated.Disturbances(world).change_link(host, mib_per_s=50.0)


class _Watch:
    """Counts, at each stored transition, how many migrations hold a slot out of each host, into each host, and in all."""

    def __init__(self, cloud: clouds.Cloud) -> None:
        self.cloud = cloud
        self.outgoing: dict[str, int] = {}
        self.incoming: dict[str, int] = {}
        self.cluster = 0
        self.started: list[str] = []
        self._holding: dict[str, tuple[str, str]] = {}
        cloud.on_commit.append(self._told)

    def _told(self, _conductor_id: str, result: object) -> None:
        if not isinstance(result, tuple) or not hasattr(result[1], "source_compute"):
            return
        record = result[1]
        if record.status in states.HOLDING_SLOTS:
            if record.uuid not in self._holding:
                self.started.append(record.instance_uuid)
            self._holding[record.uuid] = (record.source_compute, record.dest_compute or "")
        else:
            self._holding.pop(record.uuid, None)
        for source, destination in self._holding.values():
            self.outgoing[source] = max(self.outgoing.get(source, 0), sum(one == source for one, _ in self._holding.values()))
            self.incoming[destination] = max(
                self.incoming.get(destination, 0), sum(one == destination for _, one in self._holding.values())
            )
        self.cluster = max(self.cluster, len(self._holding))


async def test_the_second_out_of_a_host_waits_for_the_first(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """With one slot out of the host, the second is `queued` and starts within a tenth of a second of the first one's end."""
    _add(world, "h1", "g2")
    _slow(world, "h1")
    async with make_cloud(world, conductor=_NO_POLL) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        assert (await cloud.live_migrate("g2")).status_code == 202
        await asking.until_status(cloud, "g2", Status.QUEUED)
        await cloud.clock.sleep(5.0)
        assert (await asking.migration_of(cloud, "g2")).status is Status.QUEUED
        first = await asking.until_ended(cloud, "g1")
        second = await asking.until_ended(cloud, "g2")
        assert (first.status, second.status) == (Status.COMPLETED, Status.COMPLETED)
        assert first.finished_at is not None
        assert second.started_at is not None
        assert 0 <= (second.started_at - first.finished_at).total_seconds() <= 0.1
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(
    ("limit", "value", "conductors"),
    [
        ("max_concurrent_live_migrations", 2, 1),
        ("max_concurrent_live_migrations", 2, 2),
        ("max_concurrent_incoming_live_migrations", 1, 2),
        ("max_concurrent_live_migrations_cluster", 3, 2),
    ],
)
async def test_thirty_at_once_respect_the_limit(
    make_cloud: clouds.MakeCloud, world: simulated.World, limit: str, value: int, conductors: int
) -> None:
    """All complete, never more of them at once than the limit, and the limit is used."""
    for host in ("h1", "h2", "h3"):
        _add(world, host, *(f"{host}-{number}" for number in range(10)), memory_mib=256)
    async with make_cloud(world, DEFAULT=_FREE | {limit: value}, conductor=_NO_POLL) as cloud:
        for _ in range(conductors - 1):
            await cloud.start_conductor()
        before = invariants.snapshot(world)
        watch = _Watch(cloud)
        names = [f"{host}-{number}" for host in ("h1", "h2", "h3") for number in range(10)]
        answers = await asyncio.gather(*(cloud.live_migrate(name) for name in names))
        assert {answer.status_code for answer in answers} == {202}
        await invariants.come_to_hold(cloud, before)
        for name in names:
            assert (await asking.migration_of(cloud, name)).status is Status.COMPLETED
        most = {
            "max_concurrent_live_migrations": max(watch.outgoing.values()),
            "max_concurrent_incoming_live_migrations": max(watch.incoming.values()),
            "max_concurrent_live_migrations_cluster": watch.cluster,
        }
        assert most[limit] == value


async def _owned_by(conductor_id: str, uow: uows.UnitOfWork) -> list[str]:
    return await uow.operations.owned_by(conductor_id)


@pytest.mark.parametrize("check_ttl_seconds", [600.0, 2.0], ids=["fresh", "old"])
async def test_slots_pass_from_conductor_to_conductor(
    make_cloud: clouds.MakeCloud, world: simulated.World, check_ttl_seconds: float
) -> None:
    """Whoever drives the next: it starts within a tenth of a second of the end before it, its checks having run again by then."""
    names = [f"s{number}" for number in range(8)]
    _add(world, "h1", *names, memory_mib=256)
    _slow(world, "h1")
    async with make_cloud(world, conductor=_NO_POLL | {"check_ttl_seconds": check_ttl_seconds}) as cloud:
        await cloud.start_conductor()
        before = invariants.snapshot(world)
        stored: list[tuple[str, operation.StepName]] = []

        def told(_conductor_id: str, result: object) -> None:
            if isinstance(result, tuple) and isinstance(result[0], operation.Operation):
                stored.append((result[0].id, result[0].step))

        for name in names:
            assert (await cloud.live_migrate(name)).status_code == 202
        await asking.until_status(cloud, names[-1], Status.QUEUED)
        cloud.on_commit.append(told)
        owned = [await cloud.store.read(functools.partial(_owned_by, conductor)) for conductor in cloud.conductors]
        assert [bool(one) for one in owned] == [True, True]
        await invariants.come_to_hold(cloud, before)
        records = sorted([await asking.migration_of(cloud, name) for name in names], key=lambda one: one.started_at or one.created_at)
        for earlier, later in itertools.pairwise(records):
            assert earlier.finished_at is not None
            assert later.started_at is not None
            assert 0 <= (later.started_at - earlier.finished_at).total_seconds() <= 0.1
            again = (later.uuid, operation.StepName.SELECT_DESTINATION)
            if check_ttl_seconds > 100:
                assert again not in stored
            else:
                assert stored.index(again) < stored.index((earlier.uuid, operation.StepName.DONE))


async def test_a_limit_that_is_raised_meanwhile_lets_the_next_start(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The second is queued behind the only slot; with two slots after a reload it starts at once, beside the first."""
    _add(world, "h1", "g2")
    _slow(world, "h1")
    async with make_cloud(world, DEFAULT=_FREE | {"max_concurrent_live_migrations": 1}, conductor=_NO_POLL) as cloud:
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        assert (await cloud.live_migrate("g2")).status_code == 202
        await asking.until_status(cloud, "g2", Status.QUEUED)
        more = dataclasses.replace(cloud.config.default, max_concurrent_live_migrations=2)
        for conductor in cloud.conductors.values():
            conductor.part.reload(dataclasses.replace(cloud.config, default=more))
        raised_at = cloud.clock.monotonic()
        await asking.until_status(cloud, "g2", Status.RUNNING)
        assert cloud.clock.monotonic() - raised_at < 1
        assert (await asking.migration_of(cloud, "g1")).status is Status.RUNNING


async def test_both_ends_or_none(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """One that waits for its destination's slot holds none at its source: another from there goes before it."""
    _add(world, "h1", "g2", memory_mib=64)
    _add(world, "h3", "g3", memory_mib=4096)
    _slow(world, "h3")
    options = _FREE | {"max_concurrent_live_migrations": 1, "max_concurrent_incoming_live_migrations": 1}
    async with make_cloud(world, DEFAULT=options, conductor=_NO_POLL) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g3", host="h2")).status_code == 202
        await asking.until_status(cloud, "g3", Status.RUNNING)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", Status.QUEUED)
        passing = await asking.move(cloud, "g2", host="h3")
        assert passing.status is Status.COMPLETED
        assert (await asking.migration_of(cloud, "g1")).status is Status.QUEUED
        await invariants.come_to_hold(cloud, before)
        assert (await asking.migration_of(cloud, "g1")).status is Status.COMPLETED


async def test_they_leave_the_queue_in_their_order(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """First come, first served, also when one in the middle is aborted."""
    names = [f"q{number}" for number in range(5)]
    _add(world, "h1", *names, memory_mib=512)
    async with make_cloud(world, conductor=_NO_POLL) as cloud:
        before = invariants.snapshot(world)
        watch = _Watch(cloud)
        for name in names:
            assert (await cloud.live_migrate(name)).status_code == 202
        await asking.until_status(cloud, names[-1], Status.QUEUED)
        assert (await asking.abort(cloud, names[2])).status_code == 202
        await invariants.come_to_hold(cloud, before)
        assert (await asking.migration_of(cloud, names[2])).status is Status.CANCELLED
        assert watch.started == [cloud.uuid(name) for name in names if name != names[2]]


@pytest.mark.parametrize("is_named", [False, True], ids=["any", "named"])
@pytest.mark.parametrize("is_still_fit", [True, False], ids=["fits", "fits-no-more"])
async def test_old_checks_run_again_before_it_starts(
    make_cloud: clouds.MakeCloud, world: simulated.World, is_still_fit: bool, is_named: bool
) -> None:
    """It waited for longer than check_ttl: it is checked again, and goes elsewhere if its destination fits no more and was not named."""
    _add(world, "h1", "g2")
    _slow(world, "h1")
    async with make_cloud(world, conductor=_NO_POLL | {"check_ttl_seconds": 5.0}) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g1", host="h3")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        assert (await cloud.live_migrate("g2", host="h2" if is_named else None)).status_code == 202
        waiting = await asking.until_status(cloud, "g2", Status.QUEUED)
        first_choice = waiting.dest_compute or ""
        if not is_still_fit:
            world.hosts[first_choice].machine_types = frozenset()
        record = await asking.until_ended(cloud, "g2")
        checks = [host for name, host, _ in await asking.events_of(cloud, "g2") if name == "compute_check_can_live_migrate_destination"]
        if is_still_fit:
            assert (record.status, record.dest_compute) == (Status.COMPLETED, first_choice)
            assert checks == [first_choice, first_choice]
        elif is_named:
            assert record.reason is not None
            assert (record.status, record.reason.slug) == (Status.ERROR, "machine_type_unsupported")
        else:
            assert record.status is Status.COMPLETED
            assert record.dest_compute not in (first_choice, "h1")
            assert checks == [first_choice, first_choice, record.dest_compute]
        await invariants.come_to_hold(cloud, before)


async def test_a_full_destination_is_exchanged_for_a_free_one(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Its destination's incoming slots stay taken while another host has one free: after check_ttl it goes there."""
    _add(world, "h1", "g2", memory_mib=64)
    _add(world, "h3", "g3", memory_mib=4096)
    _slow(world, "h3")
    # Heavier by far, so that it is everybody's first choice.
    world.hosts["h2"].memory_mib *= 4
    options = _FREE | {"max_concurrent_incoming_live_migrations": 1}
    async with make_cloud(
        world, DEFAULT=options, conductor={"check_ttl_seconds": 5.0}, scheduler={"migrations_weight_multiplier": 0.0}
    ) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g3", host="h2")).status_code == 202
        await asking.until_status(cloud, "g3", Status.RUNNING)
        assert (await cloud.live_migrate("g2")).status_code == 202
        assert (await asking.until_status(cloud, "g2", Status.QUEUED)).dest_compute == "h2"
        record = await asking.until_ended(cloud, "g2", seconds=12)
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h3")
        assert (await asking.migration_of(cloud, "g3")).status is Status.RUNNING
        await invariants.come_to_hold(cloud, before)


async def test_a_queued_one_survives_its_conductor(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The conductor dies with one running and one queued; the next keeps the order and the limit."""
    _add(world, "h1", "g2")
    _slow(world, "h1")
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        watch = _Watch(cloud)
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        assert (await cloud.live_migrate("g2")).status_code == 202
        await asking.until_status(cloud, "g2", Status.QUEUED)
        cloud.kill_conductor()
        await cloud.start_conductor()
        await invariants.come_to_hold(cloud, before)
        assert (await asking.migration_of(cloud, "g2")).status is Status.COMPLETED
        assert watch.outgoing == {"h1": 1}


async def test_the_destination_goes_down_while_it_waits(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Down when it leaves the queue, and its checks are old by then: another destination is taken."""
    _add(world, "h1", "g2")
    _slow(world, "h1")
    async with make_cloud(world, conductor={"check_ttl_seconds": 5.0}) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g1", host="h3")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        assert (await cloud.live_migrate("g2")).status_code == 202
        gone = (await asking.until_status(cloud, "g2", Status.QUEUED)).dest_compute or ""
        assert gone == "h2"
        cloud.kill_agent(gone)
        record = await asking.until_ended(cloud, "g2")
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h3")
        await cloud.start_agent(gone)
        await invariants.come_to_hold(cloud, before)
