# SPDX-License-Identifier: Apache-2.0
"""A destination was told to forget a migration before that was stored: asked again by the same step it said yes, and then forgot it.

The word took the new check's probe away, and the source, not finding it, took a shared disk for its own.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.functional.flow import asking, conftest
from wherry import errors
from wherry.drivers import simulated
from wherry.model import operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants, mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


async def test_what_was_decided_about_a_destination_is_stored_before_it_is_told(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    world.add_guest("h1", "g2", memory_mib=64, disks=(conftest.disk("/shared/g2.raw"),))
    world.hosts["h2"].memory_mib *= 4
    slow_source = simulated.CallFault(kind=simulated.FaultKind.DELAY, method="check_source", when=simulated.When.BEFORE, seconds=50)
    world.faults.add(slow_source)
    are_disks_sent: list[bool] = []
    answers: list[object] = []

    async with make_cloud(world, conductor={"chore_retry_interval_seconds": 70.0, "sweep_interval_seconds": 1.0}) as cloud:
        before = invariants.snapshot(world)

        def unheard(_conductor: str, result: object) -> None:
            """The first thing that is stored once the check had no answer: the database keeps it, and its word is lost."""
            writer = asyncio.current_task()
            if writer is not None and writer.get_name().startswith("operation "):
                cloud.on_commit.remove(unheard)
                answers.append(result)
                raise errors.DatabaseUnavailable(detail="the connection was cut")

        def lose() -> mortal.Fate:
            cloud.on_commit.append(unheard)
            return mortal.Fate.LOST

        def planned(_conductor: str, result: object) -> None:
            if isinstance(result, tuple) and isinstance(result[0], operation.Operation) and result[0].step is operation.StepName.ADMIT:
                storage = result[0].plan.storage
                are_disks_sent.append(storage is not None and storage.is_block_migration)

        asking.at_message(cloud, "CheckDestination", lose, host="h2")
        asking.at_message(cloud, "RollBackDestination", lambda: mortal.Fate.LOST, host="h2")
        cloud.on_commit.append(planned)
        record = await asking.move(cloud, "g2")
        assert answers
        assert (record.status, are_disks_sent) == (asking.Status.COMPLETED, [False])
        await invariants.come_to_hold(cloud, before)
