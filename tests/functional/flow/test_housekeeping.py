# SPDX-License-Identifier: Apache-2.0
"""What a conductor counts, and what those that were killed leave behind."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_a_success_is_counted_with_the_time_that_its_transfer_took(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        moved = await asking.move(cloud, "g1")
        assert moved.started_at is not None
        assert moved.finished_at is not None
        counted = cloud.metrics.registry.get_sample_value
        assert counted("wherry_migrations_total", {"outcome": "completed", "reason": ""}) == 1
        took = counted("wherry_migration_transfer_seconds_sum", {"outcome": "completed"})
        assert took == pytest.approx((moved.finished_at - moved.started_at).total_seconds())


async def test_the_row_of_a_killed_conductor_goes_when_the_next_one_starts(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        cloud.kill_conductor()
        await cloud.clock.sleep(3 * cloud.config.conductor.lease_seconds)
        successor = await cloud.start_conductor()
        assert [one.id for one in await cloud.store.read(lambda uow: uow.conductors.list())] == [successor]


async def test_what_only_a_newer_release_knows_is_kept_for_it(
    make_cloud: clouds.MakeCloud, world: simulated.World, caplog: pytest.LogCaptureFixture
) -> None:
    """A chore of a command that is not known here stays owed, and is looked at again each time."""
    async with make_cloud(world) as cloud:
        moved = await asking.move(cloud, "g1")
        await cloud.store.run(lambda uow: uow.chores.add(moved.uuid, "h2", "FromTheFuture", {}))
        with caplog.at_level(logging.WARNING):
            await cloud.clock.sleep(2.5 * cloud.config.conductor.chore_retry_interval_seconds)
        assert caplog.text.count("what only a newer release knows") == 2
        assert [one.command for one in await cloud.store.read(lambda uow: uow.chores.list())] == ["FromTheFuture"]


async def test_signs_of_life_are_stored_together(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Twenty at once cost one commit, and each agent hears whether it is the current one."""
    async with make_cloud(world) as cloud:
        known = {one.name: one.incarnation for one in await cloud.store.read(lambda uow: uow.hosts.list())}
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()
        commits: list[object] = []
        cloud.on_commit.append(lambda _, result: commits.append(result) if isinstance(result, set) else None)

        async def beat(name: str, incarnation: str) -> bool:
            agent = client.Client(transport, addresses.Sender(addresses.Role.AGENT, name), timeout_seconds=5, clock=cloud.clock)
            answer = await agent.call(addresses.conductor(), messages.Heartbeat(name=name, incarnation=incarnation))
            return answer.is_known

        beats = [(name, own) for name, incarnation in known.items() for own in (incarnation, *(f"old-{n}" for n in range(6)))]
        answers = await asyncio.gather(*(beat(*one) for one in beats))
        await transport.close()
        assert dict(zip(beats, answers, strict=True)) == {one: one in known.items() for one in beats}
        assert len(beats) >= 20
        assert len(commits) == 1
