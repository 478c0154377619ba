# SPDX-License-Identifier: Apache-2.0
"""An agent is killed at each call that it makes of its hypervisor, and comes back seconds later: nothing is lost, nothing is left."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Status = asking.Status

#: Host that is killed, method of its driver, and which of its calls counted from the request.
_CALLS = (
    ("h1", "describe_guests", 1),
    ("h2", "check_destination", 1),
    ("h1", "check_source", 1),
    ("h2", "release_check", 1),
    ("h2", "prepare_destination", 1),
    ("h1", "start_transfer", 1),
    ("h1", "read_transfer", 1),
    ("h1", "read_transfer", 3),
    ("h1", "observe_guest", 1),
    ("h1", "observe_guest", 2),
    ("h2", "observe_guest", 1),
    ("h2", "finish_destination", 1),
    ("h1", "clean_up_source", 1),
)
_IDS = [f"{host}-{method}-{number}" for host, method, number in _CALLS]
#: Before the slots are taken a host that is away fails the checks, and no other destination is tried where one was named.
_CHECKING = frozenset({"describe_guests", "check_destination", "check_source"})
_COMMANDS = (
    ("h2", "PrepareDestination"),
    ("h1", "StartTransfer"),
    ("h2", "ObserveGuest"),
    ("h2", "FinishDestination"),
    ("h1", "FinishSource"),
)


class _Killer:
    """Kills an agent once, and brings it back after a while."""

    def __init__(self, cloud: clouds.Cloud, host: str) -> None:
        self.cloud = cloud
        self.host = host
        self.has_killed = False

    def kill(self) -> None:
        self.cloud.kill_agent(self.host)
        self.has_killed = True

    async def follow(self, *, seconds: float = 3.0) -> None:
        """Wait for the kill, then start the agent again after so long."""
        await self.cloud.until(lambda: self.has_killed, seconds=300)
        await self.cloud.clock.sleep(seconds)
        await self.cloud.start_agent(self.host)


def _with_own_disk(world: simulated.World, *, dirty_mib_per_s: float = 0.0) -> simulated.World:
    disks = (conftest.disk("/shared/g2.raw"), conftest.disk("/own/g2.raw", name="vdb"))
    world.add_guest("h1", "g2", memory_mib=1024, disks=disks, dirty_mib_per_s=dirty_mib_per_s)
    return world


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", _CALLS, ids=_IDS)
async def test_killed_in_a_call(make_cloud: clouds.MakeCloud, world: simulated.World, call: tuple[str, str, int], is_done: bool) -> None:
    """Killed before or after the call's effect: in the checks the migration may be refused, later it completes."""
    host, method, number = call
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        killer = _Killer(cloud, host)
        asking.at_call(cloud, host, method, killer.kill, is_done=is_done, number=number)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=400)
        if method in _CHECKING:
            assert record.status in (Status.ERROR, Status.COMPLETED)
        else:
            assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before, seconds=400)


@pytest.mark.parametrize(("host", "message"), _COMMANDS, ids=[f"{host}-{message}" for host, message in _COMMANDS])
async def test_killed_with_a_command_on_its_way(make_cloud: clouds.MakeCloud, world: simulated.World, host: str, message: str) -> None:
    """Killed as the command is sent, which nobody hears: it is given to the agent's successor."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        killer = _Killer(cloud, host)
        asking.at_message(cloud, message, killer.kill, host=host)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=400)
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before, seconds=400)


@pytest.mark.parametrize("message", ["TransferStarted", "TransferEnded"])
@pytest.mark.parametrize("is_sent", [False, True], ids=["lost", "sent"])
async def test_killed_as_it_reports(make_cloud: clouds.MakeCloud, world: simulated.World, message: str, is_sent: bool) -> None:
    """A report is kept in the notes until it was acknowledged; its successor sends it, and a second copy of it changes nothing."""
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        killer = _Killer(cloud, "h1")

        def strike() -> mortal.Fate:
            killer.kill()
            return mortal.Fate.DELIVERED if is_sent else mortal.Fate.LOST

        asking.at_message(cloud, message, strike)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=400)
        assert record.status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before, seconds=400)


_UNDOING = (
    ("h1", "abort_transfer"),
    ("h1", "observe_guest"),
    ("h2", "observe_guest"),
    ("h2", "roll_back_destination"),
)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("host", "method"), _UNDOING, ids=[f"{host}-{method}" for host, method in _UNDOING])
async def test_killed_while_aborting(make_cloud: clouds.MakeCloud, world: simulated.World, host: str, method: str, is_done: bool) -> None:
    """Killed anywhere between an abort and the end of its undo: it is cancelled all the same, the guest runs on at the source."""
    async with make_cloud(_with_own_disk(world, dirty_mib_per_s=3000.0)) as cloud:
        before = invariants.snapshot(cloud.world)
        assert (await cloud.live_migrate("g2", host="h2")).status_code == 202
        await asking.until_status(cloud, "g2", Status.RUNNING)
        await cloud.clock.sleep(2.0)
        killer = _Killer(cloud, host)
        asking.at_call(cloud, host, method, killer.kill, is_done=is_done)
        assert (await asking.abort(cloud, "g2")).status_code == 202
        await killer.follow()
        record = await asking.until_ended(cloud, "g2", seconds=400)
        assert record.status is Status.CANCELLED
        await invariants.come_to_hold(cloud, before, seconds=400)


@pytest.mark.parametrize("away_seconds", [1.0, 20.0, 100.0])
async def test_source_agent_away_while_the_copy_goes_on(make_cloud: clouds.MakeCloud, world: simulated.World, away_seconds: float) -> None:
    """The copy goes on without its watcher, ends or not, and the record follows when the agent is back; nothing was aborted."""
    world.add_guest("h1", "big", memory_mib=16_384, disks=(conftest.disk("/shared/big.raw"),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(cloud.world)
        assert (await cloud.live_migrate("big")).status_code == 202
        await asking.until_status(cloud, "big", Status.RUNNING)
        cloud.kill_agent("h1")
        await cloud.clock.sleep(away_seconds)
        record = await asking.migration_of(cloud, "big")
        assert record.status is Status.RUNNING
        await cloud.start_agent("h1")
        record = await asking.until_ended(cloud, "big", seconds=60)
        assert record.status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before, seconds=120)


async def test_both_agents_away_while_the_guest_arrives(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The guest arrived while nobody of ours lived at either host: the record is made to follow it to the destination."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(cloud.world)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", Status.RUNNING)
        cloud.kill_agent("h1")
        cloud.kill_agent("h2")
        cloud.kill_conductor()
        await cloud.clock.sleep(30.0)
        assert cloud.uuid("g1") in cloud.world.hosts["h2"].guests
        await cloud.start_conductor()
        await cloud.start_agent("h2")
        await cloud.start_agent("h1")
        record = await asking.until_ended(cloud, "g1", seconds=120)
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before, seconds=120)
