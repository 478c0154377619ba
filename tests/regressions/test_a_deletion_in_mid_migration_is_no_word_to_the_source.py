# SPDX-License-Identifier: Apache-2.0
"""A server was deleted while it migrated: who drove that took it for a word to the source, and failed."""

from __future__ import annotations

import logging

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_its_driver_goes_on(make_cloud: clouds.MakeCloud, world: simulated.World, caplog: pytest.LogCaptureFixture) -> None:
    world.add_guest("h1", "busy", memory_mib=8192, dirty_mib_per_s=3000.0)
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 0}) as cloud:
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        await cloud.clock.sleep(5.0)
        await making.delete(cloud, cloud.uuid("busy"))
        record = await asking.until_ended(cloud, "busy")
        assert record.status is asking.Status.CANCELLED
        await cloud.until(lambda: cloud.uuid("busy") not in making.guests_of(cloud)["h1"])
    assert not [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR]
