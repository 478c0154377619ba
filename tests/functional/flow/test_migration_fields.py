# SPDX-License-Identifier: Apache-2.0
"""What migrations show beside their status: the destination's address, the flavors before and after."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

_LIVE = {"os-migrateLive": {"host": "h2", "block_migration": "auto"}}


async def _shown(cloud: clouds.Cloud, path: str, uuid: str, body: dict[str, Any]) -> tuple[str | None, int | None, int | None]:
    """Ask for a move; give what its migration shows of address and flavors."""
    answer = await cloud.request("POST", path, json=body)
    assert answer.status_code == 202, answer.text
    await making.until_free(cloud, uuid)
    row = (await cloud.request("GET", f"/v2.1/os-migrations?instance_uuid={uuid}")).json()["migrations"][0]
    return row["dest_host"], row["old_instance_type_id"], row["new_instance_type_id"]


async def test_a_made_servers_migrations_name_its_flavors_and_where_it_goes(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """By the numbers of their rows, which are Nova's internal ids; the address of cold ones only, as in Nova."""
    async with make_cloud(world) as cloud:
        made = {"flavor": {"name": "last", "id": "last", "ram": 768, "vcpus": 1, "disk": 1}}
        assert (await cloud.request("POST", "/v2.1/flavors", json=made)).status_code == 200
        uuid, _ = await making.create(cloud, availability_zone="nova:h1")
        await making.until_free(cloud, uuid)
        path = f"/v2.1/servers/{uuid}/action"
        assert await _shown(cloud, path, uuid, _LIVE) == (None, 1, 1)
        assert await _shown(cloud, path, uuid, {"migrate": {"host": "h3"}}) == (world.hosts["h3"].address, 1, 1)
        assert (await cloud.request("POST", path, json={"confirmResize": None})).status_code == 204
        await making.until_free(cloud, uuid)
        # Beside the five that there are from the beginning.
        where, *numbers = await _shown(cloud, path, uuid, {"resize": {"flavorRef": "last"}})
        assert (where in {host.address for host in world.hosts.values()}, numbers) == (True, [1, 6])


async def test_flavors_of_found_guests_have_no_numbers(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        shown = await _shown(cloud, asking.server_path(cloud, "g1", "/action"), cloud.uuid("g1"), {"migrate": {"host": "h2"}})
        assert shown == (world.hosts["h2"].address, None, None)
