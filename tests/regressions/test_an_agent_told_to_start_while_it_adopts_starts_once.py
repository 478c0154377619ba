# SPDX-License-Identifier: Apache-2.0
"""An agent that came back was told to start a transfer while it asked its hypervisor whether it was under way: it began and watched two."""

from __future__ import annotations

import asyncio

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import migration
from wherry.rpc import addresses, messages
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_it_is_begun_by_one(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h1", "busy", memory_mib=8192, dirty_mib_per_s=3000.0)
    world.call_seconds = 0.5
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        calls: list[bool] = []
        sent: list[asyncio.Task[None]] = []

        def count(host: str, method: str, is_done: bool) -> None:
            if (host, method) == ("h1", "start_transfer"):
                calls.append(is_done)

        async def tell_again() -> None:
            # So that the hypervisor still starts it when the agent learns that it is under way.
            await cloud.clock.sleep(0.2)
            record = await asking.migration_of(cloud, "busy")
            of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
            assert isinstance(of.request, migration.LiveMigrationRequest)
            ids = {"operation_id": of.id, "epoch": of.epoch, "instance_uuid": of.instance_uuid}
            await cloud.cast(addresses.agent("h1"), messages.StartTransfer(**ids, plan=of.plan, request=of.request))

        asking.at_call(cloud, "h1", "start_transfer", lambda: cloud.kill_agent("h1"), is_done=True)
        asking.at_call(cloud, "h1", "read_transfer", lambda: sent.append(asyncio.ensure_future(tell_again())), is_done=False)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await cloud.until(lambda: len(cloud.on_call) == 1)
        cloud.on_call.append(count)
        await cloud.start_agent("h1")
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        await cloud.clock.sleep(5.0)
        assert sent
        assert calls == [False, True]
        await asking.abort(cloud, "busy")
        await asking.until_ended(cloud, "busy")
        await invariants.come_to_hold(cloud, before)
