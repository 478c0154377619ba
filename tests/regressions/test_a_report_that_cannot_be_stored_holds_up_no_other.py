# SPDX-License-Identifier: Apache-2.0
"""What hosts report is gathered; one report with a number too large for the database had those of all hosts refused with it."""

from __future__ import annotations

import asyncio

import pytest

from wherry import errors
from wherry.drivers import simulated
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_TOO_LARGE = 2**70


async def test_each_host_is_answered_for_its_own(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """h3's agent sends nonsense at the same moment as h2's, which is right."""
    async with make_cloud(world) as cloud:
        known = {one.name: one.incarnation for one in await cloud.store.read(lambda uow: uow.hosts.list())}
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()

        async def report(name: str, sequence: int) -> messages.Done:
            agent = client.Client(transport, addresses.Sender(addresses.Role.AGENT, name), timeout_seconds=30, clock=cloud.clock)
            told = messages.ReportInventory(name=name, incarnation=known[name], sequence=sequence, is_complete=False, guests=())
            return await agent.call(addresses.conductor(), told)

        answers = await asyncio.gather(report("h3", _TOO_LARGE), report("h2", 10**6), return_exceptions=True)
        await transport.close()
        assert isinstance(answers[0], errors.Error)
        assert answers[1] == messages.Done()
