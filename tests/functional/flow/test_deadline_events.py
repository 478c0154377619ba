# SPDX-License-Identifier: Apache-2.0
"""What a deadline does is told as events of the request, with the numbers that it went by."""

from __future__ import annotations

import dataclasses

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
#: 2 GiB of memory at 5 s for each GiB.
_OPTIONS = {"live_migration_completion_timeout": 5}


@pytest.fixture
def world(world: simulated.World) -> simulated.World:
    """With a guest `busy` of 2 GiB whose copy never ends by itself."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    return world


async def _told(cloud: clouds.Cloud, name: str) -> list[tuple[str, str, str]]:
    """Give name, result and details of the events that tell what was done to the server's last transfer."""
    record = await asking.migration_of(cloud, name)
    of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
    action = await asking.action_of(cloud, name, of.request_id)
    wanted = ("deadline_applied", "deadline_changed", "transfer_acted_on")
    return [(one.name, str(one.result and one.result.value), one.details or "") for one in reversed(action.events) if one.name in wanted]


async def _stages(cloud: clouds.Cloud, name: str) -> list[str]:
    """Give the details of the transfer's own event."""
    record = await asking.migration_of(cloud, name)
    of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
    action = await asking.action_of(cloud, name, of.request_id)
    return [one.details or "" for one in action.events if one.name == "compute_live_migration"]


async def test_it_is_told_as_an_event_with_its_numbers(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Elapsed, budget with its origin, what remains, bandwidth, what is dirtied, and what was chosen; once."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        answer = await cloud.live_migrate("busy", host="h2", version="2.1000", timeout_seconds=7, on_timeout="force_complete")
        assert answer.status_code == 202
        assert (await asking.until_ended(cloud, "busy", seconds=60)).status is Status.COMPLETED
        ((name, result, details),) = await _told(cloud, "busy")
        assert (name, result) == ("deadline_applied", "Success")
        for part in ("deadline: pause the guest after 7.0", "of 7 s (request)", "MiB remain at", "MiB/s dirtied", "a pause of"):
            assert part in details, details
        assert await _stages(cloud, "busy") == [details.partition(";")[0]]


async def test_its_numbers_are_told_once(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """An abort by it: the stage that it ended says what and when, and the record why in full."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        assert (await cloud.live_migrate("busy", host="h2", version="2.1000", timeout_seconds=7)).status_code == 202
        record = await asking.until_ended(cloud, "busy", seconds=60)
        ((_, _, details),) = await _told(cloud, "busy")
        assert "MiB remain at" in details
        assert record.reason is not None
        assert record.reason.message == f"Aborted: {details}"
        assert await _stages(cloud, "busy") == [f"Aborted: {details.partition(';')[0]}"]


async def test_a_changed_configuration_is_told_and_shown(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """deadline_changed, then deadline_applied at the new time; the record shows the new deadline meanwhile."""
    async with make_cloud(world, libvirt=_OPTIONS) as cloud:
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        section = dataclasses.replace(cloud.config.libvirt, live_migration_completion_timeout=20)
        await cloud.agents["h1"].part.reload(dataclasses.replace(cloud.config, libvirt=section))
        await cloud.clock.sleep(1.0)
        running = await asking.migration_of(cloud, "busy")
        assert running.deadline is not None
        assert (running.deadline.timeout_seconds, running.deadline.timeout_origin.value) == (40, "configuration")
        assert running.started_at is not None
        assert running.deadline_at is not None
        assert (running.deadline_at - running.started_at).total_seconds() == pytest.approx(40.0, abs=0.1)
        record = await asking.until_ended(cloud, "busy", seconds=60)
        assert record.finished_at is not None
        assert 40.0 <= (record.finished_at - running.started_at).total_seconds() <= 41.0
        told = await _told(cloud, "busy")
        assert [name for name, _, _ in told] == ["deadline_changed", "deadline_applied"]
        assert "40 s, abort (it was 10 s)" in told[0][2]


async def test_it_is_the_time_that_the_source_keeps(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """No conductor lived when the transfer began: beginning and deadline are what the source counts, also when changed."""
    async with make_cloud(world, libvirt=_OPTIONS | {"live_migration_completion_timeout": 30}) as cloud:
        began: list[float] = []

        def without_conductor() -> None:
            began.append(cloud.clock.now().timestamp())
            cloud.kill_conductor()

        asking.at_call(cloud, "h1", "start_transfer", without_conductor, is_done=True)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await cloud.until(lambda: began)
        await cloud.clock.sleep(15.0)
        await cloud.start_conductor()
        running = await asking.until_status(cloud, "busy", Status.RUNNING)
        assert running.started_at is not None
        assert running.deadline_at is not None
        assert running.started_at.timestamp() == pytest.approx(began[0], abs=0.1)
        assert (running.deadline_at - running.started_at).total_seconds() == 60.0
        section = dataclasses.replace(cloud.config.libvirt, live_migration_completion_timeout=20)
        await cloud.agents["h1"].part.reload(dataclasses.replace(cloud.config, libvirt=section))
        await cloud.clock.sleep(1.0)
        changed = await asking.migration_of(cloud, "busy")
        assert changed.deadline_at is not None
        assert changed.deadline_at.timestamp() == pytest.approx(began[0] + 40.0, abs=0.1)
        section = dataclasses.replace(cloud.config.libvirt, live_migration_completion_timeout=0)
        await cloud.agents["h1"].part.reload(dataclasses.replace(cloud.config, libvirt=section))
        await cloud.clock.sleep(1.0)
        assert (await asking.migration_of(cloud, "busy")).deadline_at is None
