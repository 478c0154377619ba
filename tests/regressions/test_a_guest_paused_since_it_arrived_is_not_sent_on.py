# SPDX-License-Identifier: Apache-2.0
"""QEMU before 10.0 died at the end of a migration whose guest had arrived paused and had not run since: the guest was lost."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tests.functional.flow import asking
from tests.functional.flow import conftest as flow
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

_SOURCE = "compute_check_can_live_migrate_source"


async def _act(cloud: clouds.Cloud, action: str, shown: str) -> None:
    """Ask for an action, and wait until the server shows its end."""
    answer = await cloud.request("POST", asking.server_path(cloud, "still", "/action"), json={action: None})
    assert answer.status_code == 202, answer.text

    async def is_shown() -> bool:
        server = await cloud.server("still")
        return (server["status"], server["OS-EXT-STS:task_state"]) == (shown, None)

    await cloud.until(is_shown, seconds=60)


@pytest.mark.parametrize("forgets", ["nobody", "hypervisor", "agent"])
async def test_it_is_refused_until_it_has_run(make_cloud: clouds.MakeCloud, world: simulated.World, forgets: str) -> None:
    """400 to who waits, an ended record for who looks later, and the guest untouched; run and paused again, it moves.

    Its hypervisor tells of the arrival until it restarts, the agent's journal for as long as the guest is there.
    """
    world.add_guest("h1", "still", state=guest.GuestState.PAUSED, disks=(flow.disk("/shared/still.raw"),))
    async with make_cloud(world, agent={"journal_retention_days": 0.01}, conductor=clouds.RARELY) as cloud:
        record = await asking.move(cloud, "still", host="h2")
        assert record.status is asking.Status.COMPLETED, "created paused, it has no images to be handed over twice"
        if forgets == "hypervisor":
            hand = simulated.Disturbances(world)
            hand.kill_daemon("h2", back_after_seconds=1.0)
            # Longer than other ends are remembered.
            await cloud.clock.sleep(2000.0)
        if forgets == "agent":
            await cloud.stop_agent("h2")
            shutil.rmtree(pathlib.Path(cloud.config.agent.journal_path, "h2"))
            await cloud.start_agent("h2")
        before = invariants.snapshot(world)
        answer = await cloud.live_migrate("still", host="h3", version="2.30")
        assert answer.status_code == 400, answer.text
        assert "arrived paused" in answer.text
        assert "Resume" in answer.text
        refused = await asking.move(cloud, "still", host="h3")
        assert (refused.status, refused.reason and refused.reason.slug) == (asking.Status.ERROR, "paused_since_arrival")
        assert (await asking.events_of(cloud, "still"))[-1] == (_SOURCE, "h2", "Error")
        await invariants.come_to_hold(cloud, before)
        assert world.host("h2").guests[cloud.uuid("still")].state is guest.GuestState.PAUSED

        await _act(cloud, "unpause", "ACTIVE")
        await _act(cloud, "pause", "PAUSED")
        assert (await asking.move(cloud, "still", host="h3")).status is asking.Status.COMPLETED
        assert world.host("h3").guests[cloud.uuid("still")].state is guest.GuestState.PAUSED


async def test_a_fixed_hypervisor_sends_it_on(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    for host in world.hosts.values():
        host.hypervisor_version = 10_000_000
    world.add_guest("h1", "still", state=guest.GuestState.PAUSED, disks=(flow.disk("/shared/still.raw"),))
    async with make_cloud(world) as cloud:
        for host_name in ("h2", "h3", "h1"):
            assert (await asking.move(cloud, "still", host=host_name)).status is asking.Status.COMPLETED
        assert world.host("h1").guests[cloud.uuid("still")].state is guest.GuestState.PAUSED
