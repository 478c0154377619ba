# SPDX-License-Identifier: Apache-2.0
"""An agent that died before it could register left a name that nobody knew: its successor was refused until the host's silence was over."""

from __future__ import annotations

import functools

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_a_successor_names_all_that_had_its_journal(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:

        async def incarnation() -> str:
            return (await cloud.store.read(lambda uow: uow.hosts.get("h2"))).incarnation

        registered = await incarnation()
        cloud.kill_agent("h2")
        lost = 0

        def lose() -> mortal.Fate:
            nonlocal lost
            lost += 1
            return mortal.Fate.LOST

        for number in (1, 2):
            asking.at_message(cloud, "RegisterHost", lose, host="h2")
            await cloud.start_agent("h2")
            await cloud.until(functools.partial(lambda wanted: lost == wanted, number), seconds=5)
            cloud.kill_agent("h2")
        assert await incarnation() == registered
        await cloud.start_agent("h2")

        async def is_known() -> bool:
            return await incarnation() != registered

        await cloud.until(is_known, seconds=5)
