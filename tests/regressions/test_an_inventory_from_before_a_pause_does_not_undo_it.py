# SPDX-License-Identifier: Apache-2.0
"""A guest is described, then paused; the description comes last. The server was shown as running until the next inventory."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import guest, server
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=1_000)


async def test_the_record_stays_paused(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        described = guest.Guest(uuid=uuid, name="g1", state=guest.GuestState.RUNNING, memory_mib=1, vcpus=1)
        answer = await cloud.request("POST", f"{asking.server_path(cloud, 'g1')}/action", json={"pause": None})
        assert answer.status_code == 202

        async def is_paused() -> bool:
            return bool((await cloud.server("g1"))["status"] == "PAUSED")

        await cloud.until(is_paused, seconds=10.0)
        (h1,) = [one for one in await cloud.store.read(lambda uow: uow.hosts.list()) if one.name == "h1"]
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()
        agent = client.Client(transport, addresses.Sender(addresses.Role.AGENT, "h1"), timeout_seconds=30, clock=cloud.clock)
        late = messages.ReportInventory(name="h1", incarnation=h1.incarnation, sequence=10**6, is_complete=False, guests=(described,))
        await agent.call(addresses.conductor(), late)
        await transport.close()
        after = await cloud.store.read(lambda uow: uow.servers.get(uuid))
        assert (after.vm_state, after.power_state) == (server.VmState.PAUSED, server.PowerState.PAUSED)
