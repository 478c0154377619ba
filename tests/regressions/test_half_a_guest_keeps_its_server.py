# SPDX-License-Identifier: Apache-2.0
"""A post-copy broke and the part at the source was destroyed: the server was called deleted, and what was kept was nobody's."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, moving
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_OPTIONS = {"live_migration_completion_timeout": 0, "live_migration_permit_post_copy": True}


async def test_it_stays_in_error(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h1", "busy", memory_mib=8192, dirty_mib_per_s=3000.0, is_persistent=False)
    async with make_cloud(world, libvirt=_OPTIONS, agent={"inventory_interval_seconds": 10.0}) as cloud:
        await cloud.live_migrate("busy", host="h2")
        record = await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        await cloud.clock.sleep(12.0)
        path = asking.server_path(cloud, "busy", f"/migrations/{record.id}/action")
        await cloud.request("POST", path, json={"force_complete": None})
        await asking.until_status(cloud, "busy", asking.Status.POST_COPY)
        disturb = simulated.Disturbances(world)
        disturb.cut_link("h2")
        disturb.break_post_copy(cloud.uuid("busy"))
        disturb.destroy_guest("h1", cloud.uuid("busy"))
        record = await asking.until_ended(cloud, "busy")
        assert record.status is asking.Status.ERROR
        await cloud.clock.sleep(60.0)
        assert moving.state_at(cloud, "h2", "busy") is guest.GuestState.POST_COPY_FAILED
        shown = await cloud.server("busy")
        assert (shown["status"], shown.get("progress", 0)) == ("ERROR", 0)
