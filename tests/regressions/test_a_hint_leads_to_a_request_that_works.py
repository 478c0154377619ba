# SPDX-License-Identifier: Apache-2.0
"""A limit of "abc" was said to fit an older microversion, which ignores limits; of a misspelt key only that the right one is lacking."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time


async def test_a_version_that_drops_a_parameter_is_not_one_that_it_fits(world: simulated.World, make_cloud: clouds.MakeCloud) -> None:
    async with make_cloud(world) as cloud:
        answer = await cloud.request("GET", "/v2.1/os-migrations?limit=abc", version="2.1000")
        message = answer.json()["badRequest"]["message"]
        assert "limit" in message and "fits microversion" not in message


@pytest.mark.parametrize(
    ("version", "body", "told"),
    [
        (
            "2.1000",
            {"hots": "h2", "block_migration": "auto"},
            "'host' is a required property. Not known here: hots. Known here: host, block_migration, timeout_seconds, on_timeout.",
        ),
        ("2.30", {"host": None}, "'block_migration' is a required property"),
    ],
)
async def test_a_misspelt_key_is_named(
    version: str, body: dict[str, Any], told: str, world: simulated.World, make_cloud: clouds.MakeCloud
) -> None:
    async with make_cloud(world) as cloud:
        answer = await cloud.request("POST", f"/v2.1/servers/{cloud.uuid('g1')}/action", version=version, json={"os-migrateLive": body})
        assert answer.status_code == 400
        assert answer.json()["badRequest"]["message"].endswith(told)
