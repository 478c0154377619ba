# SPDX-License-Identifier: Apache-2.0
"""The ways to ask for a live migration, blocking and not, and what is answered when the checks say no."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest, operation
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

Status = asking.Status

_BLOCKING = ("2.1", "2.25", "2.30", "2.33")
_ASYNCHRONOUS = ("2.34", "2.67", "2.68", "2.90")
_FORCING = ("2.30", "2.33", "2.34", "2.67")


def _message(answer: Any) -> str:
    (fault,) = answer.json().values()
    return str(fault["message"])


@pytest.mark.parametrize("host", [None, "h3"], ids=["any", "named"])
@pytest.mark.parametrize("version", (*_BLOCKING, *_ASYNCHRONOUS))
async def test_it_works_at_each_version(make_cloud: clouds.MakeCloud, world: simulated.World, version: str, host: str | None) -> None:
    """202 with an empty body: below 2.34 when the checks have passed, from then on before anything was checked."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        calls: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: calls.append(method) if is_done else None)
        answer = await cloud.live_migrate("g1", host=host, version=version)
        assert (answer.status_code, answer.content) == (202, b"")
        assert ("check_source" in calls) is (version in _BLOCKING)
        record = await asking.until_ended(cloud, "g1")
        assert record.status is Status.COMPLETED
        assert record.dest_compute in ({"h3"} if host else {"h2", "h3"})
        await invariants.come_to_hold(cloud, before)
        events = await asking.events_of(cloud, "g1", answer.headers["x-openstack-request-id"])
        first = "conductor_migrate_server" if version in _BLOCKING else "conductor_live_migrate_server"
        assert events[0] == (first, "control", "Success")


@pytest.mark.parametrize("version", _FORCING)
async def test_a_forced_host_bypasses_the_filters(make_cloud: clouds.MakeCloud, world: simulated.World, version: str) -> None:
    """A disabled host refuses a request that names it, and takes a forced one."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await cloud.store.run(lambda uow: uow.hosts.update_service("h3", is_disabled=True, disabled_reason="being mended"))
        refused = await cloud.live_migrate("g1", host="h3", version="2.30")
        assert refused.status_code == 400
        assert "h3 is disabled (being mended)" in _message(refused)
        answer = await cloud.live_migrate("g1", host="h3", version=version, force=True)
        assert answer.status_code == 202
        assert (await asking.until_ended(cloud, "g1")).dest_compute == "h3"
        await invariants.come_to_hold(cloud, before)


async def test_force_without_a_host_and_force_at_2_68(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Both are 400, and record nothing."""
    async with make_cloud(world) as cloud:
        assert (await cloud.live_migrate("g1", version="2.30", force=True)).status_code == 400
        assert (await cloud.live_migrate("g1", host="h2", version="2.68", force=True)).status_code == 400
        assert await asking.migrations_of(cloud, "g1") == []


@pytest.mark.parametrize("version", ["2.1", "2.30", "2.34", "2.90"])
async def test_an_unknown_host_is_refused_at_once(make_cloud: clouds.MakeCloud, world: simulated.World, version: str) -> None:
    """400 in both modes, naming it; nothing is recorded."""
    async with make_cloud(world) as cloud:
        answer = await cloud.live_migrate("g1", host="nowhere", version=version)
        assert answer.status_code == 400
        assert "Compute host nowhere could not be found" in _message(answer)
        assert await asking.migrations_of(cloud, "g1") == []
        assert (await cloud.server("g1"))["OS-EXT-STS:task_state"] is None


@pytest.mark.parametrize("version", ["2.25", "2.90"])
async def test_its_own_host_is_refused(make_cloud: clouds.MakeCloud, world: simulated.World, version: str) -> None:
    """The host that it runs on cannot be its destination."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        answer = await cloud.live_migrate("g1", host="h1", version=version)
        assert answer.status_code == (400 if version == "2.25" else 202)
        record = await asking.until_ended(cloud, "g1")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "destination_is_source")
        await invariants.come_to_hold(cloud, before)


async def test_a_blocking_client_is_told_the_cause_of_the_host_it_named(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The destination's own words, not a generic one, and where to read the rest."""
    world.add_guest("h1", "wide", memory_mib=512, machine_type="s390-ccw")
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        named = await cloud.live_migrate("wide", host="h2", version="2.30")
        assert named.status_code == 400
        assert "h2 does not know the guest's machine type s390-ccw" in _message(named)
        chosen = await cloud.live_migrate("wide", version="2.30")
        assert chosen.status_code == 400
        assert "No valid host" in _message(chosen)
        assert "h3 does not know the guest's machine type" in _message(chosen)
        assert [one.status for one in await asking.migrations_of(cloud, "wide")] == [Status.ERROR, Status.ERROR]
        server = await cloud.server("wide")
        assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("version", ["2.30", "2.34"])
async def test_a_guest_that_has_stopped_meanwhile(make_cloud: clouds.MakeCloud, world: simulated.World, version: str) -> None:
    """The record says active, the hypervisor says shut off: 409 to who waits, an error record in any case."""
    async with make_cloud(world) as cloud:
        world.hosts["h1"].guests[cloud.uuid("g1")].state = guest.GuestState.SHUT_OFF
        answer = await cloud.live_migrate("g1", version=version)
        assert answer.status_code == (409 if version == "2.30" else 202)
        record = await asking.until_ended(cloud, "g1")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "guest_not_running")


@pytest.mark.parametrize("version", ["2.30", "2.90"])
async def test_a_paused_guest_stays_paused(make_cloud: clouds.MakeCloud, world: simulated.World, version: str) -> None:
    """PAUSED before, MIGRATING meanwhile, PAUSED at the destination."""
    world.add_guest("h1", "still", memory_mib=2048, state=guest.GuestState.PAUSED, disks=(conftest.disk("/shared/still.raw"),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.server("still"))["status"] == "PAUSED"
        assert (await cloud.live_migrate("still", host="h2", version=version)).status_code == 202
        assert (await cloud.server("still"))["status"] == "MIGRATING"
        await asking.until_status(cloud, "still", Status.COMPLETED)
        shown = await cloud.server("still")
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("PAUSED", "h2")
        await invariants.come_to_hold(cloud, before)


async def test_two_requests_at_once_for_one_server(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """One is taken, the other told what holds the server; afterwards it may go again."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        answers = await asyncio.gather(cloud.live_migrate("g1"), cloud.live_migrate("g1"))
        assert sorted(answer.status_code for answer in answers) == [202, 409]
        first = await asking.until_ended(cloud, "g1")
        conflict = next(answer for answer in answers if answer.status_code == 409)
        assert f"migration {first.id}" in _message(conflict)
        second = await asking.move(cloud, "g1", host="h1")
        assert (first.status, second.status) == (Status.COMPLETED, Status.COMPLETED)
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("is_killed_after_checks", [False, True], ids=["checking", "checked"])
@pytest.mark.parametrize("is_refused", [False, True], ids=["passes", "refused"])
async def test_the_conductor_dies_while_a_client_waits(
    make_cloud: clouds.MakeCloud, world: simulated.World, is_refused: bool, is_killed_after_checks: bool
) -> None:
    """The answer still comes, from the record, with the status and the words that the conductor would have given."""
    world.add_guest("h1", "odd", memory_mib=512, machine_type="s390-ccw" if is_refused else "q35")
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await cloud.start_conductor()
        if is_killed_after_checks:
            step = operation.StepName.DONE if is_refused else operation.StepName.ADMIT
            asking.at_step(cloud, step, cloud.kill_conductor)
        else:
            asking.at_step(cloud, operation.StepName.CHECK_DESTINATION, cloud.kill_conductor)
        async with asyncio.timeout(30):
            answer = await cloud.live_migrate("odd", host="h2", version="2.30")
        assert len(cloud.conductors) == 1
        if is_refused:
            assert answer.status_code == 400
            assert "h2 does not know the guest's machine type" in _message(answer)
        else:
            assert answer.status_code == 202
        await invariants.come_to_hold(cloud, before)


async def test_the_checks_take_longer_than_a_client_may_wait(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """500 that names the request; the migration goes on and completes."""
    async with make_cloud(world, api={"blocking_request_timeout_seconds": 5.0}) as cloud:
        before = invariants.snapshot(world)
        world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="check_destination", seconds=20.0))
        answer = await cloud.live_migrate("g1", version="2.30")
        assert answer.status_code == 500
        assert answer.headers["x-openstack-request-id"] in _message(answer)
        assert (await asking.until_ended(cloud, "g1")).status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)
