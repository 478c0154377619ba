# SPDX-License-Identifier: Apache-2.0
"""What one conductor hears and another waits for reaches the other at once, not with its next look."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import migration
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

#: So rarely that nothing would come to its end in time that way.
_RARELY = {"sweep_interval_seconds": 3000.0, "queue_poll_interval_seconds": 3000.0}
_GUESTS = tuple(f"guest-{number}" for number in range(6))


async def test_slots_and_reports_of_others_are_heard_of_at_once(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Six guests leave one host, one after the other, driven by two conductors by turns; messages come to either."""
    for name in _GUESTS:
        world.add_guest("h1", name, memory_mib=1024, disks=(conftest.disk(f"/shared/{name}.raw"),))
    async with make_cloud(world, conductor=_RARELY) as cloud:
        await cloud.start_conductor()
        begun = cloud.clock.monotonic()
        for name in _GUESTS:
            assert (await cloud.live_migrate(name, host="h2")).status_code == 202
        for name in _GUESTS:
            assert (await asking.until_ended(cloud, name)).status is asking.Status.COMPLETED
        assert cloud.clock.monotonic() - begun < 30.0
        owners = [(await cloud.store.read(lambda uow, one=one: uow.operations.get(one.uuid))).owner for one in await _all(cloud)]  # type: ignore[misc]  # bound at once
        assert len(set(owners)) == 2


async def test_an_abort_that_another_conductor_hears_of_is_served_at_once(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Whichever of the two is told: its owner learns of it."""
    simulated.Disturbances(world).change_link("h1", mib_per_s=1.0)
    for name in _GUESTS:
        world.add_guest("h1", name, memory_mib=1024, disks=(conftest.disk(f"/shared/{name}.raw"),))
    async with make_cloud(world, conductor=_RARELY, DEFAULT={"max_concurrent_live_migrations": 0}) as cloud:
        await cloud.start_conductor()
        for name in _GUESTS:
            await cloud.live_migrate(name)
        for name in _GUESTS:
            record = await asking.until_status(cloud, name, asking.Status.RUNNING)
            begun = cloud.clock.monotonic()
            path = f"/v2.1/servers/{cloud.uuid(name)}/migrations/{record.id}"
            assert (await cloud.request("DELETE", path)).status_code == 202
            assert (await asking.until_ended(cloud, name)).status is asking.Status.CANCELLED
            assert cloud.clock.monotonic() - begun < 60.0


async def _all(cloud: clouds.Cloud) -> list[migration.Migration]:
    return [await asking.migration_of(cloud, name) for name in _GUESTS]
