# SPDX-License-Identifier: Apache-2.0
"""Progress as a client sees it while a guest moves, and afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import states
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)


async def _shown(cloud: clouds.Cloud, name: str) -> dict[str, Any]:
    record = await asking.migration_of(cloud, name)
    answer = await cloud.request("GET", asking.server_path(cloud, name, f"/migrations/{record.id}"), version="2.1000")
    return dict(answer.json()["migration"])


@pytest.mark.parametrize("is_agent_killed", [False, True])
async def test_the_percentage_never_falls(make_cloud: clouds.MakeCloud, world: simulated.World, is_agent_killed: bool) -> None:
    """A guest that dirties in bursts, the agent restarted in between: what remains goes up and down, the percentage only up."""
    world.add_guest(
        "h1", "busy", memory_mib=2048, dirty_mib_per_s=1100.0, working_set_mib=1500.0, disks=(conftest.disk("/shared/busy.raw"),)
    )
    options = {
        "live_migration_monitor_interval": 1,
        "live_migration_completion_timeout": 15,
        "live_migration_timeout_action": "force_complete",
    }
    async with make_cloud(world, libvirt=options, conductor={"progress_flush_interval_seconds": 1.0}) as cloud:
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", states.Status.RUNNING)
        looks: list[dict[str, Any]] = []
        while (await asking.migration_of(cloud, "busy")).status not in states.TERMINAL:
            looks.append(await _shown(cloud, "busy"))
            if is_agent_killed and len(looks) == 10:
                cloud.kill_agent("h1")
                await cloud.start_agent("h1")
            await cloud.clock.sleep(0.5)
        percentages = [one["percentage"] for one in looks if one["percentage"] is not None]
        remaining = [one["memory_remaining_bytes"] for one in looks if one["memory_remaining_bytes"] is not None]
        assert remaining != sorted(remaining, reverse=True), "the guest was meant to dirty more than was left"
        assert percentages == sorted(percentages)
        assert len(set(percentages)) > 1
        assert max(percentages) <= 99
        last = await _shown(cloud, "busy")
        assert (last["status"], last["percentage"], last["seconds_left_low"]) == ("completed", 100, None)
        assert last["bytes_per_second"] > 0
        assert last["iteration"] > 1
