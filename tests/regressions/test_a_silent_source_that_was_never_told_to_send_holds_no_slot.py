# SPDX-License-Identifier: Apache-2.0
"""A migration that fails in its preparation ends although its source has fallen silent: the guest there was never touched."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_it_ends_and_the_source_is_owed_its_note(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The preparation fails, the source's agent is dead by then: failed, the slot free, the end of it owed and paid at the return."""
    world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="prepare_destination", slug="preparation_failed"))
    async with make_cloud(world) as cloud:
        asking.at_call(cloud, "h2", "prepare_destination", lambda: cloud.kill_agent("h1"), is_done=False)
        await cloud.live_migrate("g1", host="h2", version="2.34")

        async def is_over() -> bool:
            return (await cloud.server("g1"))["OS-EXT-STS:task_state"] is None

        await cloud.until(is_over, seconds=120)
        owed = await cloud.store.read(lambda uow: uow.chores.list("h1"))
        assert [chore.command for chore in owed] == ["RollBackSource"]
        await cloud.start_agent("h1")

        async def is_paid() -> bool:
            return not await cloud.store.read(lambda uow: uow.chores.list("h1"))

        await cloud.until(is_paid, seconds=300)
