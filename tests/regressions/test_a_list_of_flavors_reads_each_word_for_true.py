# SPDX-License-Identifier: Apache-2.0
"""tempest found it: `is_public=t` listed the private flavors, and any other word did so too."""

from __future__ import annotations

import pytest

from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time


async def test_a_list_of_flavors_reads_each_word_for_true(world: simulated.World, make_cloud: clouds.MakeCloud) -> None:
    async with make_cloud(world) as cloud:
        for name, is_public in (("everybodys", True), ("ours", False)):
            flavor = {"name": name, "ram": 64, "vcpus": 1, "disk": 0, "os-flavor-access:is_public": is_public}
            assert (await cloud.request("POST", "/v2.1/flavors", json={"flavor": flavor})).status_code == 200

        async def listed(word: str) -> set[str]:
            answer = await cloud.request("GET", "/v2.1/flavors", params={"is_public": word})
            return {one["name"] for one in answer.json()["flavors"]} & {"everybodys", "ours"}

        for word in ("t", "true", "True", "yes", "y", "1", "on"):
            assert await listed(word) == {"everybodys"}, word
        for word in ("f", "false", "no", "0"):
            assert await listed(word) == {"ours"}, word
        assert await listed("None") == {"everybodys", "ours"}
        refused = await cloud.request("GET", "/v2.1/flavors", params={"is_public": "perhaps"})
        assert (refused.status_code, refused.json()["badRequest"]["message"]) == (
            400,
            "Invalid is_public filter [perhaps]. Send true, false or none.",
        )
