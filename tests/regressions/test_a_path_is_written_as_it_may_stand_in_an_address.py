# SPDX-License-Identifier: Apache-2.0
"""A tag with the end of a line, or a letter that is not Latin, broke the answer that says where it is; a NUL matched every host."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("tag", ["a%0D%0AX-Injected%3A%201", "%E6%97%A5%E6%9C%AC", "a%20b"])
async def test_where_a_tag_is_is_an_address(tag: str, world: simulated.World, make_cloud: clouds.MakeCloud) -> None:
    async with make_cloud(world) as cloud:
        path = asking.server_path(cloud, "g1", f"/tags/{tag}")
        answer = await cloud.request("PUT", path)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"].endswith(path)
        assert (await cloud.request("GET", answer.headers["location"])).status_code == 204


async def test_nothing_has_a_nul_in_its_path(world: simulated.World, make_cloud: clouds.MakeCloud) -> None:
    async with make_cloud(world) as cloud:
        for path in ("/os-hypervisors/%00/search", "/os-hypervisors/h1%00/servers", "/servers/x/os-instance-actions/%00"):
            answer = await cloud.request("GET", f"/v2.1{path}", version="2.52")
            assert answer.status_code == 404, path
            assert answer.json()["itemNotFound"]["message"] == "The resource could not be found."
