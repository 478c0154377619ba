# SPDX-License-Identifier: Apache-2.0
"""While a source was silent in mid-copy the record did not say so, and forcing it down did not end the migration."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import migration
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_silence_is_the_reason_and_an_operators_word_ends_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """`running`, source_unreachable; forced down, with the host dead: `failed`, and the undo does not wait for the dead host."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        cloud.kill_agent("h1")
        simulated.Disturbances(world).power_off("h1")

        async def is_told() -> migration.Reason | None:
            return (await asking.migration_of(cloud, "busy")).reason

        reason: migration.Reason = await cloud.until(is_told, seconds=30)
        assert reason.slug == "source_unreachable"
        assert (await asking.migration_of(cloud, "busy")).status is asking.Status.RUNNING
        await cloud.store.run(lambda uow: uow.hosts.update_service("h1", is_forced_down=True))
        assert (await asking.until_ended(cloud, "busy", seconds=30)).status is asking.Status.FAILED
        await invariants.hold(cloud, before, touched=["busy", "g1"], is_owing=True)
