# SPDX-License-Identifier: Apache-2.0
"""A live migration that succeeds, both ways in, as a client sees it."""

from __future__ import annotations

import pytest

from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def _ended(cloud: clouds.Cloud, name: str) -> dict[str, object]:
    async def is_over() -> dict[str, object] | None:
        server = await cloud.server(name)
        return server if server["OS-EXT-STS:task_state"] is None else None

    found: dict[str, object] = await cloud.until(is_over)
    return found


async def test_an_asynchronous_request_is_told_by_its_events(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """202 at once, MIGRATING until it has arrived, and each stage found under the request id of the 202."""
    async with make_cloud(world) as cloud:
        answer = await cloud.live_migrate("g1", version="2.84")
        assert (answer.status_code, answer.content) == (202, b"")
        assert (await cloud.server("g1"))["status"] == "MIGRATING"
        server = await _ended(cloud, "g1")
        assert server["status"] == "ACTIVE"
        assert server["OS-EXT-SRV-ATTR:host"] in {"h2", "h3"}
        request_id = answer.headers["x-openstack-request-id"]
        path = f"/v2.1/servers/{cloud.uuid('g1')}/os-instance-actions/{request_id}"
        action = (await cloud.request("GET", path, version="2.84")).json()["instanceAction"]
    assert (action["action"], action["message"]) == ("live-migration", None)
    told = [(event["event"], event["host"], event["result"]) for event in reversed(action["events"])]
    there = server["OS-EXT-SRV-ATTR:host"]
    assert told == [
        ("conductor_live_migrate_server", "control", "Success"),
        ("compute_check_can_live_migrate_destination", there, "Success"),
        ("compute_check_can_live_migrate_source", "h1", "Success"),
        ("compute_pre_live_migration", there, "Success"),
        ("compute_live_migration", "h1", "Success"),
        ("compute_post_live_migration_at_destination", there, "Success"),
    ]
    assert all(event["finish_time"] >= event["start_time"] for event in action["events"])
