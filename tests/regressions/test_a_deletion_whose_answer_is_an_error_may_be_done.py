# SPDX-License-Identifier: Apache-2.0
"""A host removed the guest, then failed: the server was in error, soon called gone, and what the host had yet to remove was nobody's."""

from __future__ import annotations

import pytest

from tests.functional.flow import making
from wherry.drivers import simulated
from wherry.model import server
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_QUICK = {"conductor": {"chore_retry_interval_seconds": 20.0}}


@pytest.mark.parametrize("is_found", [False, True], ids=["made", "found"])
async def test_the_server_is_deleted(make_cloud: clouds.MakeCloud, world: simulated.World, is_found: bool) -> None:
    """The hypervisor is asked before the deletion is called failed; the rest is owed by the host."""
    if is_found:
        world.add_guest("h1", "found", memory_mib=1024)
    async with make_cloud(world, **_QUICK) as cloud:
        before = invariants.snapshot(world)
        if is_found:
            uuid = cloud.uuid("found")
        else:
            uuid, _ = await making.create(cloud, availability_zone="nova:h1")
            await making.until_free(cloud, uuid)
        world.faults.add(
            simulated.CallFault(
                kind=simulated.FaultKind.RAISE, slug="hypervisor_failure", host="h1", method="destroy_guest", when=simulated.When.AFTER
            )
        )
        request_id = await making.delete(cloud, uuid)
        await making.until_free(cloud, uuid)
        assert [result for _, _, result in await making.events(cloud, uuid, request_id)] == ["Success"]
        record = (await cloud.store.read(lambda uow: uow.servers.find([uuid])))[uuid]
        assert (record.vm_state, record.reason) == (server.VmState.DELETED, server.DELETED_ON_REQUEST)
        await invariants.come_to_hold(cloud, before)
