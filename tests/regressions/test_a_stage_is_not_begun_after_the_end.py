# SPDX-License-Identifier: Apache-2.0
"""A slow database let an operation end between its claim and the opening of the conductor's event, which then stayed open for ever."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry import errors
from wherry.conductor import endpoints
from wherry.drivers import simulated
from wherry.model import instance_actions
from wherry.rpc import messages
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_an_event_that_comes_too_late_is_not_opened(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "g1")
        events = await asking.events_of(cloud, "g1")
        conductor = next(iter(cloud.conductors.values())).part
        late = endpoints.StoredEvents(store=cloud.store, host="control", orchestrator=conductor.orchestrator)
        with pytest.raises(errors.LeaseLost):
            await late.started(instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE, messages.LiveMigrateServer(operation_id=record.uuid))
        assert await asking.events_of(cloud, "g1") == events
        await invariants.come_to_hold(cloud, before)
