# SPDX-License-Identifier: Apache-2.0
"""A host that sent signs of life by the thousand took all the messages that a conductor works on at a time: others were refused."""

from __future__ import annotations

import asyncio

import pytest

from wherry import errors
from wherry.drivers import simulated
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_others_are_heard_while_one_floods(
    make_cloud: clouds.MakeCloud, world: simulated.World, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_cloud(world, bus={"max_concurrent_messages": 100, "max_concurrent_messages_per_agent": 20}) as cloud:
        known = {one.name: one.incarnation for one in await cloud.store.read(lambda uow: uow.hosts.list())}
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()

        async def beat(name: str) -> messages.HeartbeatNoted:
            agent = client.Client(transport, addresses.Sender(addresses.Role.AGENT, name), timeout_seconds=30, clock=cloud.clock)
            return await agent.call(addresses.conductor(), messages.Heartbeat(name=name, incarnation=known[name]))

        caplog.clear()
        flood = [asyncio.create_task(beat("h1")) for _ in range(300)]
        answers = await asyncio.gather(beat("h2"), beat("h3"))
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        await transport.close()
        assert [one.is_known for one in answers] == [True, True]
        refused = [one for one in outcomes if isinstance(one, errors.TooManyMessages)]
        assert len(refused) == 280
        assert "max_concurrent_messages_per_agent" in refused[0].remedy
        # Nor does the log grow with each.
        assert caplog.text.count("A message was not acted on") == 1
