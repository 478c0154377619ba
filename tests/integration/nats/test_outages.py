# SPDX-License-Identifier: Apache-2.0
"""Migrations go on whatever happens to the bus: servers of a cluster die, or all of it goes away."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from tests.functional.flow import asking
from tests.integration.nats import servers, system
from wherry.testing import invariants

pytestmark = pytest.mark.nats

#: So that what a lost message costs is not waited for longer than needed.
_QUICK = {
    "bus": {"rpc_response_timeout_seconds": 2.0, "drain_timeout_seconds": 0.0},
    "agent": {"report_timeout_seconds": 0.5, "report_retry_interval_seconds": 0.1, "report_retry_max_seconds": 0.5},
}


async def test_a_bus_killed_in_mid_migration_and_started_again(server: servers.Server, tmp_path: pathlib.Path) -> None:
    world = system.three_hosts()
    async with system.NatsCloud(world, tmp_path, lambda sender: server.section(), _QUICK) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        server.kill()
        # What is asked for meanwhile is recorded and answered as ever.
        assert (await cloud.live_migrate("g2", host="h3")).status_code == 202
        await cloud.until(lambda: "g1" in {one.spec.name for one in world.hosts["h2"].guests.values()}, seconds=20)
        assert (await asking.migration_of(cloud, "g1")).status is asking.Status.RUNNING
        server.start()
        for name in ("g1", "g2"):
            assert (await asking.until_ended(cloud, name)).status is asking.Status.COMPLETED
        await invariants.come_to_hold(cloud, before, seconds=20)


@pytest.mark.slow
async def test_each_server_of_a_cluster_killed_in_turn(make_server: servers.MakeServer, tmp_path: pathlib.Path) -> None:
    cluster = servers.cluster(make_server, 3)
    urls = tuple(one.url for one in cluster)
    world = system.three_hosts()
    # Each part takes one of them by chance.
    async with system.NatsCloud(world, tmp_path, lambda sender: cluster[0].section(transport_url=urls), _QUICK) as cloud:
        before = invariants.snapshot(world)
        for name, destination, victim in (("g1", "h2", cluster[0]), ("g2", "h3", cluster[1]), ("g3", "h1", cluster[2])):
            assert (await cloud.live_migrate(name, host=destination)).status_code == 202
            await asking.until_status(cloud, name, asking.Status.RUNNING)
            victim.kill()
            assert (await asking.until_ended(cloud, name)).status is asking.Status.COMPLETED
            victim.start()
            await servers.until_meshed(cluster)
        await invariants.come_to_hold(cloud, before, seconds=20)


async def test_a_request_goes_on_at_another_server_of_the_cluster(make_server: servers.MakeServer, join: servers.Join) -> None:
    cluster = servers.cluster(make_server, 3)
    await servers.until_meshed(cluster)
    asked: list[bytes] = []

    async def answer(_subject: str, data: bytes) -> bytes:
        asked.append(data)
        return b"answer"

    answering = await join(cluster[2].section())
    await answering.subscribe("question", answer)
    asking_part = await join(cluster[0].section(transport_url=(cluster[0].url, cluster[1].url)))
    await servers.until_answered(asking_part, "question")
    for victim in cluster[:2]:
        victim.kill()
        async with asyncio.timeout(5):
            await servers.until_answered(asking_part, "question")
        victim.start()
        await servers.until_meshed(cluster)
    assert len(asked) >= 3
