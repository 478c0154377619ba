# SPDX-License-Identifier: Apache-2.0
"""A server that is pinned to an availability zone stays in it, however it is moved."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)


#: h2 is in another zone than the others.
_ZONES: dict[str, dict[str, str]] = {
    "DEFAULT": {"default_availability_zone": "here"},
    "agent": {"availability_zones": "h2=elsewhere"},
}


async def _pinned(cloud: clouds.Cloud) -> str:
    """Make a server at h1, pinned to its zone."""
    uuid, _ = await making.create(cloud, availability_zone="here:h1")
    await making.until_free(cloud, uuid)
    return uuid


async def _host_after(cloud: clouds.Cloud, uuid: str) -> str:
    await making.until_free(cloud, uuid)
    return str((await making.show(cloud, uuid))["OS-EXT-SRV-ATTR:host"])


async def test_a_pinned_server_moves_within_its_zone_only(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Live and cold, wherever it is asked to go; the answer names the zones."""
    # By room alone h2 would be chosen.
    world.hosts["h3"].memory_mib //= 2
    async with make_cloud(world, **_ZONES) as cloud:
        uuid = await _pinned(cloud)
        path = f"/v2.1/servers/{uuid}/action"
        live = {"os-migrateLive": {"host": "h2", "block_migration": "auto"}}
        for body in (live, {"migrate": {"host": "h2"}}):
            answer = await cloud.request("POST", path, version="2.30" if body is live else "2.90", json=body)
            assert answer.status_code == 400
            assert "Host h2 is in the zone elsewhere" in answer.text and "pinned to here" in answer.text
            assert await _host_after(cloud, uuid) == "h1"
        live["os-migrateLive"]["host"] = None  # type: ignore[assignment]  # None stands for any
        assert (await cloud.request("POST", path, json=live)).status_code == 202
        assert await _host_after(cloud, uuid) == "h3"
        changed = await cloud.request("PUT", f"/v2.1/servers/{uuid}", version="2.104", json={"server": {"pinned_availability_zone": None}})
        assert changed.status_code == 200, changed.text
        assert (await cloud.request("POST", path, json={"migrate": {"host": "h2"}})).status_code == 202
        assert await _host_after(cloud, uuid) == "h2"


async def test_zones_are_those_that_agents_are_configured_with(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Also after one was started again with another; new servers are made in the zone that is asked for."""
    async with make_cloud(world, **_ZONES) as cloud:
        shown = (await cloud.request("GET", "/v2.1/os-availability-zone/detail")).json()["availabilityZoneInfo"]
        assert {one["zoneName"]: set(one["hosts"]) for one in shown if one["zoneName"] != "internal"} == {
            "here": {"h1", "h3"},
            "elsewhere": {"h2"},
        }
        uuid, _ = await making.create(cloud, availability_zone="elsewhere")
        assert await _host_after(cloud, uuid) == "h2"


async def test_a_guest_that_was_found_is_pinned_to_nothing(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world, **_ZONES) as cloud:
        body = {"os-migrateLive": {"host": "h2", "block_migration": "auto"}}
        assert (await cloud.request("POST", asking.server_path(cloud, "g1", "/action"), version="2.30", json=body)).status_code == 202
        assert await _host_after(cloud, cloud.uuid("g1")) == "h2"
