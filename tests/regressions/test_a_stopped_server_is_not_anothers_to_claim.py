# SPDX-License-Identifier: Apache-2.0
"""Any agent that said to run a stopped server of another host got it: its record moved to the one that had said so."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import guest, server
from wherry.rpc import addresses, client, messages
from wherry.rpc import server as servers
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


@pytest.mark.parametrize("state", [guest.GuestState.SHUT_OFF, guest.GuestState.RUNNING], ids=lambda state: state.value)
async def test_the_record_stays(make_cloud: clouds.MakeCloud, world: simulated.World, state: guest.GuestState) -> None:
    """h3's agent lies in its inventory and when it is asked; h1 has the guest. Nothing changes, and the lie is there to be seen."""
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        if state is guest.GuestState.SHUT_OFF:
            simulated.Disturbances(world).destroy_guest("h1", uuid)
            await cloud.clock.sleep(65.0)
        before = await cloud.store.read(lambda uow: uow.servers.get(uuid))
        await cloud.stop_agent("h3")
        (known,) = [one for one in await cloud.store.read(lambda uow: uow.hosts.list()) if one.name == "h3"]
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()
        me = addresses.Sender(addresses.Role.AGENT, "h3")
        answering = servers.Server(transport, addresses.agent("h3"))

        async def insist(sender: str, message: messages.ObserveGuest) -> messages.Observed:
            del sender, message
            return messages.Observed(observation=guest.Observation(state=guest.GuestState.RUNNING))

        answering.register(messages.ObserveGuest, insist, only_from=addresses.Role.CONDUCTOR)
        await answering.start()
        liar = client.Client(transport, me, timeout_seconds=30, clock=cloud.clock)
        claimed = guest.Guest(uuid=uuid, name="g1", state=guest.GuestState.RUNNING, memory_mib=1, vcpus=1)
        await liar.call(
            addresses.conductor(),
            messages.ReportInventory(name="h3", incarnation=known.incarnation, sequence=10**6, is_complete=False, guests=(claimed,)),
        )
        after = await cloud.store.read(lambda uow: uow.servers.get(uuid))
        assert (after.host, after.vm_state, after.reason) == ("h1", before.vm_state, None)
        (told,) = await cloud.store.read(lambda uow: uow.disputes.list())
        assert (told.instance_uuid, told.host, told.recorded_state) == (uuid, "h3", state)
        await answering.stop()
        await transport.close()
        assert server.STATES_OF_GUEST[state][0] is after.vm_state
        if state is guest.GuestState.RUNNING:
            assert (await asking.move(cloud, "g1", host="h2")).status is asking.Status.COMPLETED
