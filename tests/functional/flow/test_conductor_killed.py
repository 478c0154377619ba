# SPDX-License-Identifier: Apache-2.0
"""A conductor is killed at each step of a live migration: another takes it over, or it comes back, and all comes right."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Status = asking.Status
Step = operation.StepName

_STEPS = (
    Step.CHECK_DESTINATION,
    Step.CHECK_SOURCE,
    Step.ADMIT,
    Step.PREPARE,
    Step.TRANSFER,
    Step.SETTLE,
    Step.FINISH,
    Step.DONE,
)
_MESSAGES = (
    "DescribeGuest",
    "CheckDestination",
    "CheckSource",
    "ReleaseCheck",
    "PrepareDestination",
    "StartTransfer",
    "TransferStarted",
    "TransferEnded",
    "ObserveGuest",
    "FinishDestination",
    "FinishSource",
)


class _Killer:
    """Kills the conductor that drives, once; the other one goes on, or a new one comes a second later."""

    def __init__(self, cloud: clouds.Cloud, *, has_other: bool) -> None:
        self.cloud = cloud
        self.has_other = has_other
        self.has_killed = False

    def kill(self, conductor_id: str | None = None) -> None:
        self.cloud.kill_conductor(conductor_id)
        self.has_killed = True

    async def epoch(self, operation_id: str) -> int:
        """Give how many conductors have driven it."""
        return (await self.cloud.store.read(lambda uow: uow.operations.get(operation_id))).epoch

    async def follow(self) -> None:
        """Wait for the kill, then see to it that there is a conductor."""
        await self.cloud.until(lambda: self.has_killed)
        if not self.has_other:
            await self.cloud.clock.sleep(1.0)
            await self.cloud.start_conductor()


def _with_own_disk(world: simulated.World) -> simulated.World:
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"), conftest.disk("/own/g2.raw", name="vdb")))
    return world


@pytest.mark.parametrize("has_other", [False, True], ids=["restarted", "taken-over"])
@pytest.mark.parametrize("step", _STEPS, ids=[step.value for step in _STEPS])
async def test_killed_just_after_storing_a_step(make_cloud: clouds.MakeCloud, world: simulated.World, step: Step, has_other: bool) -> None:
    """Killed between the commit and learning of it: the migration completes within a lease, a sweep and the copy."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        if has_other:
            await cloud.start_conductor()
        before = invariants.snapshot(cloud.world)
        killer = _Killer(cloud, has_other=has_other)
        asking.at_step(cloud, step, killer.kill)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=120)
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        assert await killer.epoch(record.uuid) == (1 if step is Step.DONE else 2)
        await invariants.come_to_hold(cloud, before, seconds=120)


@pytest.mark.parametrize("is_sent", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("message", _MESSAGES)
async def test_killed_around_a_message(make_cloud: clouds.MakeCloud, world: simulated.World, message: str, is_sent: bool) -> None:
    """Killed as a command or a report crosses the bus, which arrives or is lost: the other conductor completes the migration."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        killer = _Killer(cloud, has_other=False)

        def strike() -> mortal.Fate:
            killer.kill()
            return mortal.Fate.DELIVERED if is_sent else mortal.Fate.LOST

        asking.at_message(cloud, message, strike)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=120)
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        assert await killer.epoch(record.uuid) == 2
        await invariants.come_to_hold(cloud, before, seconds=120)


_UNDOING = ("RollBackSource", "RollBackDestination")


@pytest.mark.parametrize("is_sent", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("message", _UNDOING)
async def test_killed_in_the_undo(make_cloud: clouds.MakeCloud, world: simulated.World, message: str, is_sent: bool) -> None:
    """Killed while it undoes a transfer that was refused: the undo is finished by the next, and the end is the one decided before."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        killer = _Killer(cloud, has_other=False)

        def strike() -> mortal.Fate:
            killer.kill()
            return mortal.Fate.DELIVERED if is_sent else mortal.Fate.LOST

        asking.at_message(cloud, message, strike)
        world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="start_transfer", slug="transfer_refused"))
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=120)
        assert record.status is Status.FAILED
        assert record.reason is not None
        assert record.reason.slug == "transfer_refused"
        await invariants.come_to_hold(cloud, before, seconds=120)


@pytest.mark.parametrize("is_aborted", [False, True], ids=["completes", "aborted"])
async def test_two_conductors_die_one_after_the_other(make_cloud: clouds.MakeCloud, world: simulated.World, is_aborted: bool) -> None:
    """The second owner dies too, in the next step; the third ends it. An abort recorded while nobody drove is served."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=2000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(cloud.world)
        first = _Killer(cloud, has_other=False)
        asking.at_step(cloud, Step.PREPARE, first.kill)
        name = "busy" if is_aborted else "g1"
        assert (await cloud.live_migrate(name)).status_code == 202
        await first.follow()
        second = _Killer(cloud, has_other=True)
        asking.at_step(cloud, Step.TRANSFER, second.kill)
        await second.follow()
        if is_aborted:
            assert (await asking.abort(cloud, name)).status_code == 202
        await cloud.start_conductor()
        record = await asking.until_ended(cloud, name, seconds=120)
        assert record.status is (Status.CANCELLED if is_aborted else Status.COMPLETED)
        assert await second.epoch(record.uuid) == 3
        await invariants.come_to_hold(cloud, before, seconds=120)
