# SPDX-License-Identifier: Apache-2.0
"""A host in the wrong hands could send numbers that nothing can count with, and what looked at them later failed, for everybody."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from tests.functional.flow import asking
from wherry import errors
from wherry.drivers import simulated
from wherry.model import progress, truth
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import memory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_HUGE = 10**400


@contextlib.asynccontextmanager
async def _intruder(cloud: clouds.Cloud) -> AsyncIterator[client.Client]:
    """Speak as the agent of h1, beside it."""
    transport = memory.MemoryTransport(cloud.bus)
    await transport.open()
    yield client.Client(transport, addresses.Sender(addresses.Role.AGENT, "h1"), timeout_seconds=5, clock=cloud.clock)
    await transport.close()


@pytest.mark.parametrize("elapsed_seconds", [1e18, 1e300])
async def test_a_time_that_no_calendar_has(make_cloud: clouds.MakeCloud, world: simulated.World, elapsed_seconds: float) -> None:
    """The migration failed at each look at what was reported, so that it could not be aborted any more."""
    async with make_cloud(world) as cloud:
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        record = await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        assert record.deadline is not None
        budget = dataclasses.replace(record.deadline, timeout_seconds=record.deadline.timeout_seconds + 1)
        lie = messages.ActionTaken(
            operation_id=record.uuid,
            epoch=1,
            sequence=99,
            host="h1",
            intent=truth.LastIntent.NONE,
            detail="deadline changed",
            deadline=budget,
            elapsed_seconds=elapsed_seconds,
        )
        async with _intruder(cloud) as liar:
            with contextlib.suppress(errors.Error):
                await liar.call(addresses.conductor(), lie)
        assert (await asking.abort(cloud, "g1")).status_code == 202
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.CANCELLED


async def test_a_deadline_that_no_calendar_has(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """As an operator sets it who means never; it is kept, and shown as the end of time."""
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 10**12}) as cloud:
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        ended = await asking.until_ended(cloud, "g1")
        assert ended.status is asking.Status.COMPLETED


async def test_counters_that_nothing_can_count_with(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The server's migrations could not be shown."""
    async with make_cloud(world) as cloud:
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        record = await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        lie = progress.Progress(memory_total_bytes=_HUGE, memory_remaining_bytes=_HUGE, memory_bytes_per_second=1, elapsed_ms=10**9)
        async with _intruder(cloud) as liar:
            await liar.cast(addresses.conductor(), messages.TransferProgressed(operation_id=record.uuid, epoch=1, host="h1", progress=lie))
            await cloud.clock.sleep(6)
        answer = await cloud.request("GET", asking.server_path(cloud, "g1", "/migrations"), version="2.1000")
        assert answer.status_code == 200, answer.text
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.COMPLETED


async def test_a_host_of_endless_size(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """No server of any host could be moved without a host being named."""
    world.add_guest("h2", "g2", memory_mib=1024, vcpus=1)
    async with make_cloud(world) as cloud:
        (known,) = [one for one in await cloud.store.read(lambda uow: uow.hosts.list()) if one.name == "h1"]
        description = dataclasses.replace(known.description, memory_mib=_HUGE)
        lie = messages.ReportInventory(
            name="h1", incarnation=known.incarnation, sequence=10**6, is_complete=False, description=description, guests=()
        )
        async with _intruder(cloud) as liar:
            with contextlib.suppress(errors.Error):
                await liar.call(addresses.conductor(), lie)
        assert (await cloud.request("GET", "/v2.1/os-hypervisors/detail")).status_code == 200
        assert (await asking.move(cloud, "g2", host=None)).status is asking.Status.COMPLETED
