# SPDX-License-Identifier: Apache-2.0
"""A question what would become of a migration left its storage probes for ever where the host's agent, or the conductor, died over it."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_OPTIONS = {"bus": {"drain_timeout_seconds": 0.0, "rpc_response_timeout_seconds": 5.0}}


async def _ask(cloud: clouds.Cloud) -> None:
    body = {"os-checkMigrateLive": {"host": "h2", "block_migration": "auto"}}
    await cloud.request("POST", asking.server_path(cloud, "g1", "/action"), version="2.1000", json=body)


async def test_the_agent_dies_over_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Killed as its probes are there: the next agent removes them once nobody can be asking any more."""
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        asking.at_call(cloud, "h2", "check_destination", lambda: cloud.kill_agent("h2"), is_done=True)
        await _ask(cloud)
        assert invariants.snapshot(world) != before
        await cloud.start_agent("h2")
        await cloud.until(lambda: invariants.snapshot(world) == before, seconds=100)
        await invariants.come_to_hold(cloud, before)


async def test_its_release_is_lost(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The agent lives on, and nobody tells it that the question is over."""
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        asking.at_message(cloud, "ReleaseCheck", lambda: mortal.Fate.LOST)
        await _ask(cloud)
        assert invariants.snapshot(world) != before
        await cloud.until(lambda: invariants.snapshot(world) == before, seconds=100)
        await invariants.come_to_hold(cloud, before)


async def test_a_migration_of_the_guest_comes_before_they_are_gone(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It takes the guest's place on the host, and what the question left is removed all the same."""
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        asking.at_message(cloud, "ReleaseCheck", lambda: mortal.Fate.LOST)
        await _ask(cloud)
        record = await asking.move(cloud, "g1", host="h2")
        assert record.status is asking.Status.COMPLETED
        await cloud.clock.sleep(100.0)
        await invariants.come_to_hold(cloud, before)


async def test_its_release_takes_long(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """They are not removed a second time while they are being removed."""
    world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="release_check", host="h2", seconds=60.0))
    async with make_cloud(world, **_OPTIONS) as cloud:
        before = invariants.snapshot(world)
        under_way, most = 0, 0

        def told(host: str, method: str, is_done: bool) -> None:
            nonlocal under_way, most
            if (host, method) == ("h2", "release_check"):
                under_way += -1 if is_done else 1
                most = max(most, under_way)

        cloud.on_call.append(told)
        await _ask(cloud)
        await cloud.until(lambda: invariants.snapshot(world) == before, seconds=200)
        assert most == 1
        await invariants.come_to_hold(cloud, before)
