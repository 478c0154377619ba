# SPDX-License-Identifier: Apache-2.0
"""In the first pass an irreversible step was said to take 35 s, and took 76: what is dirtied is counted when the pass ends.

The bounds of a pause and of post-copy were held against that number.
"""

from __future__ import annotations

import re

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

_PAUSE = re.compile(r"which a pause of ([0-9.]+) to ([0-9.]+) s would send")


async def _end(cloud: clouds.Cloud) -> tuple[str, str | None, str]:
    """Force the guest's first pass at 6 s; give how that ended, and what the deadline's event says."""
    answer = await cloud.live_migrate("busy", host="h2", version="2.1000", timeout_seconds=6, on_timeout="force_complete")
    assert answer.status_code == 202
    record = await asking.until_ended(cloud, "busy", seconds=300)
    action = await asking.action_of(cloud, "busy", answer.headers["x-openstack-request-id"])
    told = next(one.details or "" for one in action.events if one.name in ("deadline_applied", "transfer_acted_on"))
    return record.status.value, record.reason.slug if record.reason else None, told


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest of 1 GiB that dirties 200 MiB/s before a link of 25."""
    world.add_guest("h1", "busy", memory_mib=1024, dirty_mib_per_s=200.0, disks=(conftest.disk("/shared/busy.raw"),))
    simulated.Disturbances(world).change_link("h1", mib_per_s=25.0)
    return world


async def test_the_event_gives_a_range_that_holds(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        status, _, told = await _end(cloud)
        record = await asking.migration_of(cloud, "busy")
        assert status == "completed"
        assert "874 MiB remain at 25.0 MiB/s, dirtied: not known before the first pass ends" in told
        found = _PAUSE.search(told)
        assert found is not None, told
        assert record.progress is not None
        assert record.progress.downtime_ms is not None
        assert float(found[1]) <= record.progress.downtime_ms / 1000 <= float(found[2]) + 0.2


@pytest.mark.parametrize(("limit", "end"), [(60.0, ("cancelled", "max_pause")), (80.0, ("completed", None))])
async def test_a_pause_is_held_against_all_of_it(
    make_cloud: clouds.MakeCloud, world: simulated.World, limit: float, end: tuple[str, str | None]
) -> None:
    async with make_cloud(world, libvirt={"live_migration_max_pause_seconds": limit}) as cloud:
        *ended, told = await _end(cloud)
        assert tuple(ended) == end
        # At once, and not when the bound is reached.
        assert ("abort after 6.0" in told) == (end[0] == "cancelled")


@pytest.mark.parametrize(("limit", "end"), [(38.0, ("cancelled", "max_post_copy")), (43.0, ("completed", None))])
async def test_post_copy_is_held_against_each_page_once(
    make_cloud: clouds.MakeCloud, world: simulated.World, limit: float, end: tuple[str, str | None]
) -> None:
    """A switch counts what is dirty first: 1 GiB at 25 MiB/s, not the 35 s of what remains."""
    options = {"live_migration_permit_post_copy": True, "live_migration_max_post_copy_seconds": limit}
    async with make_cloud(world, libvirt=options) as cloud:
        assert (await _end(cloud))[:2] == end
