# SPDX-License-Identifier: Apache-2.0
"""A server becomes another size, on another host or on its own, and goes back to what it was."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest, moving
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Status = asking.Status
_S = guest.GuestState
_SMALL = "2"  # m1.small: 2048 MiB, 1 vCPU, 20 GiB


async def _size(cloud: clouds.Cloud, name: str) -> tuple[int, int, int, str]:
    flavor = (await cloud.server(name))["flavor"]
    return flavor["ram"], flavor["vcpus"], flavor["disk"], flavor["original_name"]


async def test_a_server_is_resized_and_confirmed(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Memory, vCPUs and the first disk are the new flavor's; the other disk is as it was; the record says so after every inventory."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        record = await moving.resized(cloud, "g2", _SMALL)
        assert record.migration_type == "resize" and record.dest_compute in ("h2", "h3")
        arrived = moving.at(cloud, record.dest_compute or "", "g2")
        assert arrived is not None
        assert (arrived.spec.memory_mib, arrived.spec.vcpus) == (2048, 1)
        assert [disk.capacity_bytes >> 30 for disk in arrived.spec.disks] == [20, 1]
        assert await _size(cloud, "g2") == (2048, 1, 20, "m1.small")
        await invariants.come_to_hold(cloud, before)
        await moving.settled(cloud, "g2", "confirmResize")
        assert await _size(cloud, "g2") == (2048, 1, 20, "m1.small")
        await invariants.come_to_hold(cloud, before)


async def test_a_resize_goes_back(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """As it was: size, place, disks."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        before = invariants.snapshot(cloud.world)
        was = await _size(cloud, "g2")
        await moving.resized(cloud, "g2", _SMALL)
        assert (await moving.settled(cloud, "g2", "revertResize")).status is Status.REVERTED
        assert await _size(cloud, "g2") == was
        kept = moving.at(cloud, "h1", "g2")
        assert kept is not None and (kept.spec.memory_mib, kept.spec.vcpus, kept.state) == (1024, 1, _S.RUNNING)
        assert invariants.snapshot(cloud.world) == before
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("action", ["confirmResize", "revertResize"])
async def test_a_resize_may_stay_where_it_is(make_cloud: clouds.MakeCloud, world: simulated.World, action: str) -> None:
    """Where that is allowed and the host fits best: nothing is sent; what grew stays grown, whatever is said afterwards."""
    for host in ("h2", "h3"):
        world.hosts[host].memory_mib = 600
    async with make_cloud(moving.with_two_disks(world), DEFAULT={"allow_resize_to_same_host": True}) as cloud:
        before = invariants.snapshot(cloud.world)
        record = await moving.resized(cloud, "g2", _SMALL)
        assert (record.source_compute, record.dest_compute) == ("h1", "h1")
        assert await moving.states_of(cloud, "g2") == ("VERIFY_RESIZE", None, "h1")
        await invariants.come_to_hold(cloud, before)
        await moving.settled(cloud, "g2", action)
        kept = moving.at(cloud, "h1", "g2")
        assert kept is not None and kept.state is _S.RUNNING
        assert (kept.spec.memory_mib, kept.spec.disks[0].capacity_bytes >> 30) == (2048 if action == "confirmResize" else 1024, 20)
        await invariants.come_to_hold(cloud, before)


async def test_without_leave_a_resize_does_not_stay(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The server's own host is no candidate."""
    for host in ("h2", "h3"):
        world.hosts[host].memory_mib = 600
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        assert (await moving.act(cloud, "g2", "resize", {"flavorRef": _SMALL})).status_code == 400


@pytest.mark.parametrize(
    ("flavor", "said"),
    [("c1-m2048-d0", "disk"), ("c1-m1024-d1", "must change flavor"), ("no-such-flavor", "no-such-flavor"), ("", "flavorRef")],
)
async def test_what_cannot_be_asked(make_cloud: clouds.MakeCloud, world: simulated.World, flavor: str, said: str) -> None:
    """A smaller disk, the same flavor, none at all: a 400 that says so, and nothing is recorded."""
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        answer = await moving.act(cloud, "g2", "resize", {"flavorRef": flavor})
        assert answer.status_code == 400 and said in answer.text
        assert await asking.migrations_of(cloud, "g2") == []


async def test_a_server_that_is_off_is_resized_and_stays_off(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Also on its way back."""
    async with make_cloud(moving.with_two_disks(world, state=_S.SHUT_OFF)) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.resized(cloud, "g2", _SMALL)
        await moving.settled(cloud, "g2", "revertResize")
        assert await moving.states_of(cloud, "g2") == ("SHUTOFF", None, "h1")
        await invariants.come_to_hold(cloud, before)


async def test_a_shared_disk_that_grew_stays_grown(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It is one disk wherever the guest is, and nothing makes it smaller again."""
    world.add_guest("h1", "g4", memory_mib=1024, vcpus=1, disks=(conftest.disk("/shared/g4.raw"),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(cloud.world)
        await moving.resized(cloud, "g4", _SMALL)
        await moving.settled(cloud, "g4", "revertResize")
        assert cloud.world.stores["shared"].files["g4.raw"] == 20 << 30
        await invariants.come_to_hold(cloud, before)
