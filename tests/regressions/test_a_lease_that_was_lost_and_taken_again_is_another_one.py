# SPDX-License-Identifier: Apache-2.0
"""A conductor that lost its lease and got it again went on driving what another one had taken over meanwhile, where it had only waited."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from tests.functional.flow import conftest
from wherry.model import operation
from wherry.testing.simulation import chance, clients, process, scrutiny, system, trace, watch

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_OPTIONS: dict[str, dict[str, Any]] = {
    "conductor": {"lease_seconds": 2.0, "agent_silence_seconds": 12.0},
    "libvirt": {"live_migration_completion_timeout": 0},
}


async def test_what_was_taken_over_is_left_to_its_new_owner() -> None:
    process.install(asyncio.get_running_loop())
    world = conftest.three_hosts()
    # Its transfer never ends by itself: whoever drives it waits for reports.
    local = world.host("h1").guests[world.uuid_for("guest", "g1")]
    local.spec = dataclasses.replace(local.spec, dirty_mib_per_s=10_000.0)
    cloud = system.System(world, chance.Chance(1), trace.Trace(), overrides=_OPTIONS)
    watcher = watch.Watch(cloud)
    scrutiny.Scrutiny(cloud, watcher)

    async def operation_now() -> operation.Operation | None:
        ids = await cloud.store.read(lambda uow: uow.operations.list_open())
        return await cloud.store.read(lambda uow: uow.operations.get(ids[0])) if ids else None

    async def is_under_way() -> bool:
        now = await operation_now()
        return now is not None and now.step is operation.StepName.TRANSFER

    await cloud.start(apis=1, conductors=2)
    try:
        await clients.Clients(cloud).live_migrate("g1", host="h2")
        await cloud.until(is_under_way)
        await cloud.clock.sleep(1.0)
        first = await operation_now()
        assert first is not None
        owner = next(part for part in cloud.of_kind("conductor") if part.of.name == first.owner)
        owner.of.no_database_until = cloud.clock.monotonic() + 6.0
        # It is heard of again long before it would look at its transfer by itself.
        await cloud.clock.sleep(40.0)
        later = await operation_now()
        assert later is not None
        assert later.owner != first.owner
        assert later.epoch == first.epoch + 1
        assert owner.of.is_alive
        assert not watcher.problems
    finally:
        await cloud.end()
