# SPDX-License-Identifier: Apache-2.0
"""The destination that was asked for had no hypervisor yet, its agent having just begun: the host was never asked again."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


def _lacking(nth: int) -> simulated.CallFault:
    return simulated.CallFault(
        kind=simulated.FaultKind.RAISE, slug="hypervisor_unavailable", method="check_destination", host="h2", nth=nth
    )


async def test_it_is_asked_again_and_the_guest_arrives(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        first = _lacking(1)
        world.faults.add(first)
        record = await asking.move(cloud, "g1", host="h2")
        assert first.seen > 1, "asked again"
        assert record.status is asking.Status.COMPLETED


async def test_one_that_stays_away_is_not_asked_for_ever(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        each = _lacking(0)
        world.faults.add(each)
        record = await asking.move(cloud, "g1", host="h2")
        assert record.status is asking.Status.ERROR
        assert record.reason is not None
        assert record.reason.slug == "hypervisor_unavailable"
        assert each.seen == 1 + cloud.config.conductor.step_retry_limit
