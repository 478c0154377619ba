# SPDX-License-Identifier: Apache-2.0
"""A check that was doubled on the bus and came after the release of its probes made them again, and they stayed when all had ended well."""

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


async def test_what_a_late_check_makes_goes_with_the_end(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        sent: list[asyncio.Task[None]] = []

        async def send_again() -> None:
            record = await asking.migration_of(cloud, "g1")
            of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
            source = await cloud.store.read(lambda uow: uow.hosts.get("h1"))
            assert isinstance(of.request, migration.LiveMigrationRequest)
            assert of.plan.guest is not None
            again = messages.CheckDestination(
                operation_id=of.id,
                epoch=of.epoch,
                instance_uuid=of.instance_uuid,
                guest=of.plan.guest,
                request=of.request,
                source=source.description,
            )
            await cloud.cast(addresses.agent("h2"), again)

        asking.at_message(cloud, "PrepareDestination", lambda: sent.append(asyncio.ensure_future(send_again())))
        record = await asking.move(cloud, "g1", host="h2")
        assert record.status is asking.Status.COMPLETED
        assert sent
        await invariants.come_to_hold(cloud, before)
