# SPDX-License-Identifier: Apache-2.0
"""The deletion of a server that waited to be confirmed began with a confirmation; where that was refused, both began anew, for ever."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest, making, moving
from wherry.drivers import simulated
from wherry.model import guest, migration
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Status = asking.Status
_S = guest.GuestState
_QUICK = {"conductor": {"chore_retry_interval_seconds": 20.0}, "bus": {"rpc_response_timeout_seconds": 5.0}}
#: More commits than a deletion takes, with its pauses.
_MANY = 100


async def _deleted(cloud: clouds.Cloud, uuid: str) -> migration.Migration:
    """Delete the server; give its last migration when it is gone."""
    commits: list[object] = []

    def count(_conductor_id: str, result: object) -> None:
        commits.append(result)
        if len(commits) == _MANY:
            # A loop that takes no time would leave none to the test.
            cloud.kill_conductor()

    cloud.on_commit.append(count)
    await making.delete(cloud, uuid)

    async def is_gone() -> bool:
        return (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404

    await cloud.until(is_gone, seconds=120.0)
    return await asking.migration_of(cloud, "g2")


async def _usage(cloud: clouds.Cloud) -> dict[str, int]:
    return {one.name: one.usage.memory_mib for one in await cloud.store.read(lambda uow: uow.hosts.list())}


async def _nothing_is_left(cloud: clouds.Cloud, uuid: str) -> None:
    await invariants.at_rest(cloud)
    assert [name for name, host in cloud.world.hosts.items() if uuid in host.guests] == []
    # That of g1 only.
    assert await _usage(cloud) == {"h1": 1024, "h2": 0, "h3": 0}


@pytest.mark.parametrize("dead", ["h1", "h2"])
async def test_an_end_is_dead(make_cloud: clouds.MakeCloud, world: simulated.World, dead: str) -> None:
    """The server is deleted at once; what the dead host has of it goes at its return."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        await moving.moved(cloud, "g2")
        uuid = cloud.uuid("g2")
        cloud.kill_agent(dead)
        await asking.force_down(cloud, dead)
        assert (await _deleted(cloud, uuid)).status is Status.CONFIRMED
        assert [name for name, host in world.hosts.items() if uuid in host.guests] == [dead]
        await cloud.start_agent(dead)
        await _nothing_is_left(cloud, uuid)


async def test_the_destination_has_lost_the_guest(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """There is nothing to go back to for a server that is deleted: what the source kept goes."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        await moving.moved(cloud, "g2")
        uuid = cloud.uuid("g2")
        del world.hosts["h2"].guests[uuid]
        assert (await _deleted(cloud, uuid)).status is Status.CONFIRMED
        await _nothing_is_left(cloud, uuid)


async def test_somebody_has_started_what_the_source_keeps(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Both are removed."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        await moving.moved(cloud, "g2")
        uuid = cloud.uuid("g2")
        world.hosts["h1"].guests[uuid].state = _S.RUNNING
        assert (await _deleted(cloud, uuid)).status is Status.CONFIRMED
        await _nothing_is_left(cloud, uuid)


async def test_the_server_is_no_longer_where_the_move_brought_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Its state was reset, and it was taken back by hand: also what lies at the destination goes, and nothing stays claimed."""
    world.add_guest("h1", "g2", memory_mib=1024, vcpus=1, disks=(conftest.disk("/own/g2.raw"),))
    async with make_cloud(world, **_QUICK) as cloud:
        await moving.moved(cloud, "g2")
        uuid = cloud.uuid("g2")
        assert (await moving.act(cloud, "g2", "os-resetState", {"state": "active"})).status_code == 202
        lost = world.hosts["h2"].guests.pop(uuid)
        world.hosts["h1"].guests[uuid].state = _S.RUNNING

        async def has_followed() -> bool:
            # For a moment it is called gone.
            record = (await cloud.store.read(lambda uow: uow.servers.find([uuid])))[uuid]
            return record.host == "h1" and record.deleted_at is None

        await cloud.until(has_followed)
        lost.state = _S.SHUT_OFF
        world.hosts["h2"].guests[uuid] = lost
        assert (await _deleted(cloud, uuid)).status is Status.CONFIRMED
        await _nothing_is_left(cloud, uuid)
        # Found there, so nobody's to delete; what the move brought is.
        assert (world.hosts["h1"].has_file("/own/g2.raw"), world.hosts["h2"].has_file("/own/g2.raw")) == (True, False)


async def test_a_host_that_cannot_remove_it_ends_the_deletion(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The server is in error, with both parts as they were, and can be deleted again."""
    async with make_cloud(moving.with_two_disks(world), **_QUICK) as cloud:
        await moving.moved(cloud, "g2")
        uuid = cloud.uuid("g2")
        mend = world.faults.add(
            simulated.CallFault(kind=simulated.FaultKind.RAISE, slug="hypervisor_failure", host="h2", method="destroy_guest", nth=0)
        )
        await making.delete(cloud, uuid)
        assert (await moving.until_resting(cloud, "g2", Status.FINISHED)).status is Status.FINISHED
        assert await moving.states_of(cloud, "g2") == ("ERROR", None, "h2")
        assert (moving.state_at(cloud, "h1", "g2"), moving.state_at(cloud, "h2", "g2")) == (_S.SHUT_OFF, _S.RUNNING)
        mend()
        assert (await _deleted(cloud, uuid)).status is Status.CONFIRMED
        await _nothing_is_left(cloud, uuid)
