# SPDX-License-Identifier: Apache-2.0
"""Any agent could send counters of any migration: its numbers were shown, and drove out those of the source."""

from __future__ import annotations

import asyncio

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import progress
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_only_the_source_counts(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """h3 sends counters of the migration from h1 all the time; what is shown is what h1 sent, and all of that."""
    async with make_cloud(world) as cloud:
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        record = await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()
        liar = client.Client(transport, addresses.Sender(addresses.Role.AGENT, "h3"), timeout_seconds=5, clock=cloud.clock)
        lie = progress.Progress(memory_total_bytes=1, memory_processed_bytes=1, elapsed_ms=10**9)

        async def keep_lying() -> None:
            while True:
                await liar.cast(
                    addresses.conductor(), messages.TransferProgressed(operation_id=record.uuid, epoch=1, host="h3", progress=lie)
                )
                await cloud.clock.sleep(0.1)

        lying = asyncio.create_task(keep_lying())
        seen: list[progress.Progress] = []

        async def is_ended() -> bool:
            now = await asking.migration_of(cloud, "g1")
            if now.progress is not None and (not seen or seen[-1] != now.progress):
                seen.append(now.progress)
            return now.status is asking.Status.COMPLETED

        await cloud.until(is_ended)
        lying.cancel()
        await transport.close()
        assert {one.memory_total_bytes for one in seen} == {seen[-1].memory_total_bytes}
        assert seen[-1].memory_total_bytes > 1
        assert len(seen) > 3, "the source's own counters did not get through"
