# SPDX-License-Identifier: Apache-2.0
"""Messages get lost and come twice: they are hints, and the record says everything."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry import errors
from wherry.drivers import simulated
from wherry.model import guest, truth
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status

_ONE_WAY = ("LiveMigrateServer", "TransferStarted", "TransferEnded", "TransferProgressed")
_ASKED = (
    "DescribeGuest",
    "CheckDestination",
    "CheckSource",
    "ReleaseCheck",
    "PrepareDestination",
    "StartTransfer",
    "ObserveGuest",
    "FinishDestination",
    "FinishSource",
)


def _with_own_disk(world: simulated.World) -> simulated.World:
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"), conftest.disk("/own/g2.raw", name="vdb")))
    return world


async def test_a_lost_cast_is_found_by_the_sweep(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The nudge of an accepted request never comes: it starts within two seconds all the same, and its story is the usual one."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        asking.at_message(cloud, "LiveMigrateServer", lambda: mortal.Fate.LOST)
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING, Status.COMPLETED, seconds=2.5)
        await invariants.come_to_hold(cloud, before)
        events = await asking.events_of(cloud, "g1")
        assert events[0] == ("conductor_live_migrate_server", "control", "Success")
        assert len(events) == 6


@pytest.mark.parametrize("message", (*_ONE_WAY, *_ASKED))
async def test_a_message_is_lost(make_cloud: clouds.MakeCloud, world: simulated.World, message: str) -> None:
    """One message of a kind is lost: a question of the checks may end in their time-out, everything else completes."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(world)
        lost = []

        def strike() -> mortal.Fate:
            lost.append(message)
            return mortal.Fate.LOST

        asking.at_message(cloud, message, strike)
        record = await asking.move(cloud, "g2", host="h2")
        assert lost
        assert record.status is Status.COMPLETED or (message in ("CheckDestination", "CheckSource") and record.status is Status.ERROR)
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("has_other", [False, True], ids=["one-conductor", "two-conductors"])
async def test_every_message_comes_twice(make_cloud: clouds.MakeCloud, world: simulated.World, has_other: bool) -> None:
    """Doubled at every step, also to two conductors: one migration, one story, nothing in it twice."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        if has_other:
            await cloud.start_conductor()
        before = invariants.snapshot(world)
        cloud.bus.taps.append(lambda _passing: mortal.Fate.DOUBLED)
        record = await asking.move(cloud, "g2", host="h2")
        assert record.status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)
        assert await asking.events_of(cloud, "g2") == [
            ("conductor_live_migrate_server", "control", "Success"),
            ("compute_check_can_live_migrate_destination", "h2", "Success"),
            ("compute_check_can_live_migrate_source", "h1", "Success"),
            ("compute_pre_live_migration", "h2", "Success"),
            ("compute_live_migration", "h1", "Success"),
            ("compute_post_live_migration_at_destination", "h2", "Success"),
        ]


async def test_a_cast_that_comes_after_the_end_changes_nothing(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A nudge delayed until its migration has ended writes no event."""
    async with make_cloud(world) as cloud:
        record = await asking.move(cloud, "g1")
        events = await asking.events_of(cloud, "g1")
        await cloud.cast(addresses.conductor(), messages.LiveMigrateServer(operation_id=record.uuid))
        await cloud.clock.sleep(5.0)
        assert await asking.events_of(cloud, "g1") == events


@pytest.mark.parametrize("share", [3, 5, 7])
async def test_one_message_in_so_many_is_lost(make_cloud: clouds.MakeCloud, world: simulated.World, share: int) -> None:
    """A bus that goes on losing messages for a minute delays the end; it does not change the outcome's honesty."""
    async with make_cloud(_with_own_disk(world), bus={"drain_timeout_seconds": 0.0, "rpc_response_timeout_seconds": 2.0}) as cloud:
        before = invariants.snapshot(world)
        count = 0

        def tap(_passing: mortal.Passing) -> mortal.Fate:
            nonlocal count
            count += 1
            return mortal.Fate.LOST if count % share == 0 else mortal.Fate.DELIVERED

        cloud.bus.taps.append(tap)
        assert (await cloud.live_migrate("g2")).status_code == 202
        await cloud.clock.sleep(60.0)
        cloud.bus.taps.remove(tap)
        await invariants.come_to_hold(cloud, before, seconds=600)


async def test_a_host_is_not_believed_about_a_migration_of_others(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """h3 says that the transfer from h1 has ended there: it is refused, and the copy goes on."""
    async with make_cloud(world) as cloud:
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        record = await asking.until_status(cloud, "g1", Status.RUNNING)
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()
        liar = client.Client(transport, addresses.Sender(addresses.Role.AGENT, "h3"), timeout_seconds=5, clock=cloud.clock)
        gone = guest.Observation(state=guest.GuestState.ABSENT)
        for claimed in ("h1", "h3"):
            ended = messages.TransferEnded(
                operation_id=record.uuid, epoch=1, sequence=99, host=claimed, observation=gone, intent=truth.LastIntent.NONE
            )
            with pytest.raises(errors.SenderRefused):
                await liar.call(addresses.conductor(), ended)
        await transport.close()
        assert not [one for one in await cloud.store.read(lambda uow: uow.reports.list(record.uuid)) if one.sequence == 99]
        assert (await asking.until_ended(cloud, "g1")).status is Status.COMPLETED
