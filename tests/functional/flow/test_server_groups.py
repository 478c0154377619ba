# SPDX-License-Identifier: Apache-2.0
"""Server groups: no migration breaks a hard policy, however many run at once, and the event says why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.functional.flow import conftest
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

_FREE = {
    "max_concurrent_live_migrations": 0,
    "max_concurrent_incoming_live_migrations": 0,
    "max_concurrent_live_migrations_cluster": 0,
}


async def _group(cloud: clouds.Cloud, policy: str, *names: str) -> str:
    body = {"server_group": {"name": "group", "policy": policy}}
    group = str((await cloud.request("POST", "/v2.1/os-server-groups", json=body)).json()["server_group"]["id"])
    for name in names:
        action = {"add_server": {"server": cloud.uuid(name)}}
        answer = await cloud.request("POST", f"/v2.1/os-server-groups/{group}/action", version="2.1000", json=action)
        assert answer.status_code == 200
    return group


async def _ended(cloud: clouds.Cloud, name: str) -> dict[str, Any]:
    async def is_over() -> dict[str, Any] | None:
        server = await cloud.server(name)
        return server if server["OS-EXT-STS:task_state"] is None else None

    found: dict[str, Any] = await cloud.until(is_over)
    return found


async def test_two_members_that_move_at_once_never_meet(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Two of three hosts are free for two members that leave the third at the same time, from two conductors."""
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world, DEFAULT=_FREE) as cloud:
        await cloud.start_conductor()
        await _group(cloud, "anti-affinity", "g1", "g2")
        answers = await asyncio.gather(*(cloud.live_migrate(name) for name in ("g1", "g2")))
        assert [answer.status_code for answer in answers] == [202, 202]
        hosts = {(await _ended(cloud, name))["OS-EXT-SRV-ATTR:host"] for name in ("g1", "g2")}
        assert hosts == {"h2", "h3"}


@pytest.mark.parametrize("version", ["2.30", "2.90"])
async def test_a_host_that_the_group_forbids_is_refused_with_the_reason(
    make_cloud: clouds.MakeCloud, world: simulated.World, version: str
) -> None:
    world.add_guest("h2", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world) as cloud:
        group = await _group(cloud, "anti-affinity", "g1", "g2")
        answer = await cloud.live_migrate("g1", host="h2", version=version)
        text = f"Server group {group} (anti-affinity) forbids h2 for instance {cloud.uuid('g1')}"
        if version == "2.30":
            assert answer.status_code == 400
            assert text in answer.json()["badRequest"]["message"]
        server = await _ended(cloud, "g1")
        assert server["OS-EXT-SRV-ATTR:host"] == "h1"
        (row,) = (await cloud.request("GET", "/v2.1/os-migrations", version="2.1000")).json()["migrations"]
        assert (row["status"], row["reason"]) == ("error", "server_group_forbids")
        assert text in row["reason_message"]
        # Out of the group it may go.
        action = {"remove_server": {"server": cloud.uuid("g1")}}
        await cloud.request("POST", f"/v2.1/os-server-groups/{group}/action", version="2.1000", json=action)
        await cloud.live_migrate("g1", host="h2")
        assert (await _ended(cloud, "g1"))["OS-EXT-SRV-ATTR:host"] == "h2"


async def test_not_even_force_breaks_a_hard_policy(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h2", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"),))
    async with make_cloud(world) as cloud:
        await _group(cloud, "anti-affinity", "g1", "g2")
        answer = await cloud.live_migrate("g1", host="h2", version="2.30", force=True)
        assert answer.status_code == 400
        assert "(anti-affinity) forbids h2" in answer.json()["badRequest"]["message"]


async def test_members_of_a_soft_group_prefer_hosts_of_their_own(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h2", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"),))
    # Without the group, h2 would be the better one: h3 has more on it.
    world.add_guest("h3", "big", memory_mib=2048, disks=(conftest.disk("/shared/big.raw"),))
    async with make_cloud(world, scheduler={"soft_anti_affinity_weight_multiplier": 10.0}) as cloud:
        await _group(cloud, "soft-anti-affinity", "g1", "g2")
        await cloud.live_migrate("g1")
        assert (await _ended(cloud, "g1"))["OS-EXT-SRV-ATTR:host"] == "h3"
