# SPDX-License-Identifier: Apache-2.0
"""A check that was doubled on the bus came after the release of its probes, and the migration then went to another host: a probe stayed."""

from __future__ import annotations

import asyncio

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import migration
from wherry.rpc import addresses, messages
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.fixture
def full_first_choice(world: simulated.World) -> simulated.Disturbances:
    """Three guests, of which g3 is slow to leave for h2, which is everybody's first choice and takes one at a time."""
    world.add_guest("h1", "g2", memory_mib=64, disks=(conftest.disk("/shared/g2.raw"),))
    world.add_guest("h3", "g3", memory_mib=4096)
    hand = simulated.Disturbances(world)
    hand.change_link("h3", mib_per_s=50.0)
    world.hosts["h2"].memory_mib *= 4
    return hand


async def _checked_first(cloud: clouds.Cloud, host: str) -> messages.CheckDestination:
    """Have g2 checked, and let go of, at a host that is full; give the check as it was sent."""
    assert (await cloud.live_migrate("g3", host=host)).status_code == 202
    await asking.until_status(cloud, "g3", asking.Status.RUNNING)
    sent: list[messages.CheckDestination] = []
    released: list[bool] = []

    async def note() -> None:
        record = await asking.migration_of(cloud, "g2")
        of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
        source = await cloud.store.read(lambda uow: uow.hosts.get("h1"))
        assert isinstance(of.request, migration.LiveMigrationRequest)
        assert of.plan.guest is not None
        sent.append(
            messages.CheckDestination(
                operation_id=of.id,
                epoch=of.epoch,
                generation=of.generation,
                instance_uuid=of.instance_uuid,
                guest=of.plan.guest,
                request=of.request,
                source=source.description,
            )
        )

    noting: list[asyncio.Task[None]] = []
    asking.at_message(cloud, "CheckDestination", lambda: noting.append(asyncio.ensure_future(note())), host=host)
    asking.at_message(cloud, "ReleaseCheck", lambda: released.append(True), host=host)
    assert (await cloud.live_migrate("g2")).status_code == 202
    assert (await asking.until_status(cloud, "g2", asking.Status.QUEUED)).dest_compute == host
    await cloud.until(lambda: released)
    # It is done and answered by then.
    await cloud.clock.sleep(1.0)
    return sent[0]


_OPTIONS: dict[str, dict[str, object]] = {
    "DEFAULT": {"max_concurrent_live_migrations": 0, "max_concurrent_incoming_live_migrations": 1},
    "conductor": {"check_ttl_seconds": 5.0},
    "scheduler": {"migrations_weight_multiplier": 0.0},
}


async def test_a_check_that_comes_after_its_release_makes_no_probe(
    make_cloud: clouds.MakeCloud, world: simulated.World, full_first_choice: simulated.Disturbances
) -> None:
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        check = await _checked_first(cloud, "h2")
        await cloud.cast(addresses.agent("h2"), check)
        record = await asking.until_ended(cloud, "g2")
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h3")
        full_first_choice.change_link("h3", mib_per_s=20_000.0)
        await invariants.come_to_hold(cloud, before)


async def test_a_destination_that_was_let_go_of_can_be_chosen_again(
    make_cloud: clouds.MakeCloud, world: simulated.World, full_first_choice: simulated.Disturbances
) -> None:
    """With nowhere else to go it is checked again once it has room, and is not taken for a late one."""
    world.hosts["h3"].memory_mib = 4096
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        await _checked_first(cloud, "h2")
        full_first_choice.change_link("h3", mib_per_s=20_000.0)
        record = await asking.until_ended(cloud, "g2")
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before)


async def test_a_release_that_comes_after_the_next_check_leaves_its_probe(
    make_cloud: clouds.MakeCloud, world: simulated.World, full_first_choice: simulated.Disturbances
) -> None:
    """Without it the source would take a shared disk for a local one, and copy it onto itself."""
    world.hosts["h3"].memory_mib = 4096
    copied: list[int] = []
    world.copying.observers.append(lambda of, step: copied.append(of.order.disk_bytes) if step == "started" else None)
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        check = await _checked_first(cloud, "h2")
        probe = migration.StorageProbe(directory="/shared", name=f".wherry-probe-{check.operation_id}-h2")
        late = messages.ReleaseCheck(
            operation_id=check.operation_id,
            epoch=check.epoch,
            generation=check.generation + 1,
            instance_uuid=check.instance_uuid,
            probes=(probe,),
        )
        delay = simulated.CallFault(kind=simulated.FaultKind.DELAY, method="check_source", when=simulated.When.BEFORE, seconds=1)
        world.faults.add(delay)
        # Its checks are too old by then.
        await cloud.clock.sleep(6.0)
        coming: list[asyncio.Task[None]] = []
        asking.at_message(
            cloud, "CheckSource", lambda: coming.append(asyncio.ensure_future(cloud.cast(addresses.agent("h2"), late))), host="h1"
        )
        full_first_choice.change_link("h3", mib_per_s=20_000.0)
        record = await asking.until_ended(cloud, "g2")
        assert coming
        assert (record.status, copied[-1]) == (asking.Status.COMPLETED, 0)
        await invariants.come_to_hold(cloud, before)
