# SPDX-License-Identifier: Apache-2.0
"""Found by the simulation (seed 1183): a PrepResize that was doubled on the bus, and came late, left its probes for ever."""

from __future__ import annotations

import asyncio

import pytest

from tests.functional.flow import asking, moving
from wherry.drivers import simulated
from wherry.rpc import addresses, messages
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)


async def test_what_a_late_check_makes_goes_with_the_end(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(moving.with_two_disks(world)) as cloud:
        sent: list[asyncio.Task[None]] = []

        async def send_again() -> None:
            record = await asking.migration_of(cloud, "g2")
            of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
            source = await cloud.store.read(lambda uow: uow.hosts.get("h1"))
            again = messages.PrepResize(
                operation_id=of.id, epoch=of.epoch, instance_uuid=of.instance_uuid, plan=of.plan, source=source.description
            )
            await cloud.cast(addresses.agent("h2"), again)

        asking.at_message(cloud, "MoveGuest", lambda: sent.append(asyncio.ensure_future(send_again())))
        await moving.moved(cloud, "g2")
        assert (await moving.settled(cloud, "g2", "confirmResize")).status is moving.Status.CONFIRMED
        assert sent
        left = [name for host in world.hosts.values() for store in host.stores.values() for name in store.files if "probe" in name]
        assert left == []
