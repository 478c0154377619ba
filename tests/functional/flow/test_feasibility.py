# SPDX-License-Identifier: Apache-2.0
"""os-checkMigrateLive: says what would become of a live migration, and changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.db.repositories import migrations
from wherry.drivers import simulated
from wherry.model import capabilities
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

_ALL = simulated.PROFILES["libvirt"].capabilities


async def _check(cloud: clouds.Cloud, name: str, *, status: int = 200, version: str = "2.1000", **keys: Any) -> dict[str, Any]:
    body = {"os-checkMigrateLive": {"host": None, "block_migration": "auto", **keys}}
    answer = await cloud.request("POST", asking.server_path(cloud, name, "/action"), version=version, json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json().get("live_migration_check", {})) if status == 200 else dict(answer.json())


def _of(found: dict[str, Any], host: str) -> dict[str, Any]:
    return next(one for one in found["hosts"] if one["host"] == host)


def _flags(world: simulated.World, host: str, flags: capabilities.DriverCapabilities) -> None:
    world.hosts[host].profile = dataclasses.replace(world.hosts[host].profile, capabilities=flags)


async def test_it_names_each_host_and_leaves_no_trace(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Both other hosts are allowed; no record, no action, no probe, no file, the server as it was."""
    async with make_cloud(world) as cloud:
        before, server = invariants.snapshot(world), await cloud.server("g1")
        found = await _check(cloud, "g1", timeout_seconds=60)
        assert (found["allowed"], found["source"], found["blockers"]) == (True, "h1", [])
        assert sorted(one["host"] for one in found["hosts"]) == ["h2", "h3"]
        for one in found["hosts"]:
            assert (one["allowed"], one["blockers"], one["block_migration"]) == (True, [], False)
            assert one["timeout_actions"] == ["abort", "force_complete"]
        assert await cloud.server("g1") == server
        assert await cloud.store.read(lambda uow: uow.migrations.list(migrations.MigrationQuery())) == []
        path = asking.server_path(cloud, "g1", "/os-instance-actions")
        assert (await cloud.request("GET", path)).json()["instanceActions"] == []
        await invariants.hold(cloud, before)
        assert invariants.snapshot(world) == before


async def test_each_host_says_why_not_with_a_remedy(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """By record (memory, and the abilities as well) and by its hypervisor (machine type); the third would be taken."""
    world.add_host("h4", stores=dict(world.hosts["h3"].stores), vcpus=16, memory_mib=65_536)
    world.add_guest("h1", "odd", memory_mib=2048, machine_type="rare", disks=(conftest.disk("/shared/odd.raw"),))
    world.hosts["h4"].machine_types |= {"rare"}
    world.hosts["h2"].memory_mib = 1024
    _flags(world, "h2", dataclasses.replace(_ALL, per_migration_deadline=False))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        found = await _check(cloud, "odd", timeout_seconds=60)
        assert found["allowed"] is True
        assert [one["slug"] for one in _of(found, "h2")["blockers"]] == ["insufficient_memory", "capability_missing"]
        assert [one["slug"] for one in _of(found, "h3")["blockers"]] == ["machine_type_unsupported"]
        assert all(blocker["reason"] and blocker["remedy"] for one in found["hosts"] for blocker in one["blockers"])
        assert (_of(found, "h4")["allowed"], _of(found, "h2")["timeout_actions"]) == (True, [])
        assert invariants.snapshot(world) == before
        # What it says is what happens.
        record = await asking.move(cloud, "odd", version="2.1000", timeout_seconds=60)
        assert record.dest_compute == "h4"


async def test_what_the_source_lacks_blocks_all(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    _flags(world, "h1", dataclasses.replace(_ALL, abort=False))
    async with make_cloud(world) as cloud:
        found = await _check(cloud, "g1", host="h2", on_timeout="abort")
        assert found["allowed"] is False
        (blocker,) = found["blockers"]
        assert (blocker["slug"], blocker["remedy"]) == ("capability_missing", 'Send on_timeout "force_complete".')
        (one,) = found["hosts"]
        assert one["timeout_actions"] == ["force_complete"]
        assert (await _check(cloud, "g1", host="h2", on_timeout="force_complete"))["allowed"] is True


async def test_a_source_that_is_away_is_a_blocker(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        cloud.kill_agent("h1")
        await cloud.clock.sleep(90.0)
        found = await _check(cloud, "g1")
        assert (found["allowed"], found["hosts"]) == (False, [])
        assert [one["slug"] for one in found["blockers"]] == ["source_down"]


async def test_only_the_best_are_asked(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The rest is judged by its record, and says so: null is neither yes nor no."""
    world.hosts["h3"].memory_mib *= 2
    async with make_cloud(world, conductor={"feasibility_max_hosts": 1}) as cloud:
        found = await _check(cloud, "g1")
        assert [(one["host"], one["allowed"]) for one in found["hosts"]] == [("h3", True), ("h2", None)]


async def test_a_few_are_worked_on_at_a_time(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Who asks much waits for itself: of five that take 5 s each, two at a time."""
    names = [f"odd{number}" for number in range(5)]
    for name in names:
        world.add_guest("h1", name, memory_mib=64)
    world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="check_destination", host="h2", seconds=5.0, nth=0))
    async with make_cloud(world, conductor={"feasibility_max_concurrent": 2}) as cloud:
        began = cloud.clock.monotonic()
        await asyncio.gather(*(_check(cloud, name, host="h2") for name in names))
        assert 15 <= cloud.clock.monotonic() - began < 16


async def test_a_question_whose_asker_has_given_up_keeps_no_other_waiting(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Five wait for a host that takes 5 s, and for 3 s only: of the next one's time they take nothing."""
    names = [f"odd{number}" for number in range(5)]
    for name in names:
        world.add_guest("h1", name, memory_mib=64)
    world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="check_destination", host="h2", seconds=5.0, nth=0))
    async with make_cloud(world, conductor={"feasibility_max_concurrent": 1}, api={"blocking_request_timeout_seconds": 3.0}) as cloud:
        await asyncio.gather(*(_check(cloud, name, host="h2", status=500) for name in names))
        await cloud.clock.sleep(2.5)
        began = cloud.clock.monotonic()
        assert _of(await _check(cloud, "g1", host="h3"), "h3")["allowed"]
        assert cloud.clock.monotonic() - began < 1


async def test_the_estimate_holds_what_happens(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Without history the deadline is the only bound; with it, the next migration of the same server lies within the range."""
    world.add_guest("h1", "busy", memory_mib=4096, dirty_mib_per_s=300.0, disks=(conftest.disk("/shared/busy.raw"),))
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 0}) as cloud:
        found = await _check(cloud, "busy", host="h2")
        assert _of(found, "h2")["estimate"]["seconds_high"] is None
        bounded = _of(await _check(cloud, "busy", host="h2", timeout_seconds=40), "h2")["estimate"]
        assert (bounded["seconds_low"], bounded["seconds_high"]) == (0, 40)
        assert "the deadline of 40 s (request), abort" in bounded["basis"]
        await asking.move(cloud, "busy", host="h2")
        estimate = _of(await _check(cloud, "busy", host="h1"), "h1")["estimate"]
        assert estimate["basis"].startswith("1 earlier live migration of this server")
        record = await asking.move(cloud, "busy", host="h1")
        assert record.started_at is not None
        assert record.finished_at is not None
        took = (record.finished_at - record.started_at).total_seconds()
        assert estimate["seconds_low"] <= took <= estimate["seconds_high"]


async def test_a_server_that_moves_is_a_409_and_bad_input_a_400(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    async with make_cloud(world) as cloud:
        await _check(cloud, "g1", status=404, version="2.104")
        await _check(cloud, "g1", status=400, timeout=5)
        await _check(cloud, "g1", status=400, host="nowhere")
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        await _check(cloud, "busy", status=409)


async def test_a_manager_sees_no_host(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.hosts["h2"].memory_mib = 256
    async with make_cloud(world) as cloud:
        server = await cloud.server("g1")
        path = asking.server_path(cloud, "g1", "/action")
        body = {"os-checkMigrateLive": {"host": None, "block_migration": "auto"}}
        token = f"mia:{server['tenant_id']}:manager"
        answer = await cloud.request("POST", path, version="2.1000", token=token, json=body)
        assert answer.status_code == 200
        assert "h2" not in answer.text
        assert "h1" not in answer.text
        assert [one["allowed"] for one in answer.json()["live_migration_check"]["hosts"]] == [True, False]
