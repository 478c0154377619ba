# SPDX-License-Identifier: Apache-2.0
"""A request that a driver cannot keep fails in the checks, in every combination; what is only configured does not."""

from __future__ import annotations

import dataclasses

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import capabilities, guest, instance_actions, migration, states
from wherry.testing import capability_matrix, invariants
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=36_000)

Status = asking.Status
_CASES = list(capability_matrix.cases("h1", "h2"))
_GROUPS = sorted({(case.profile.name, case.place.value) for case in _CASES})


def _as_neighbour(profile: simulated.Profile) -> simulated.Profile:
    """Give the abilities of a profile to a hypervisor of one and the same kind, so that it is the abilities that decide."""
    return dataclasses.replace(profile, hypervisor_type="QEMU", supported_types=("kvm", "qemu"))


def _keys(request: migration.LiveMigrationRequest) -> dict[str, object]:
    keys = {"timeout_seconds": request.timeout_seconds, "on_timeout": request.on_timeout}
    return {name: value for name, value in keys.items() if value is not None}


def _limit(world: simulated.World, host: str, flags: capabilities.DriverCapabilities) -> None:
    world.hosts[host].profile = dataclasses.replace(world.hosts[host].profile, capabilities=flags)


async def _details(cloud: clouds.Cloud, name: str, event_name: instance_actions.EventName) -> str:
    record = await asking.migration_of(cloud, name)
    of = await cloud.store.read(lambda uow: uow.operations.get(record.uuid))
    action = await asking.action_of(cloud, name, of.request_id)
    return " ".join(event.details or "" for event in action.events if event.name == event_name)


@pytest.mark.parametrize(("profile", "place"), _GROUPS)
async def test_the_matrix(make_cloud: clouds.MakeCloud, world: simulated.World, profile: str, place: str) -> None:
    """Each row of docs/reference/capability-matrix.md, through the API: outcome, server, hypervisors, and what the event says."""
    cases = [case for case in _CASES if (case.profile.name, case.place.value) == (profile, place)]
    world.hosts["h1"].profile = _as_neighbour(cases[0].source)
    world.hosts["h2"].profile = _as_neighbour(cases[0].destination)
    for number in range(len(cases)):
        world.add_guest("h1", f"m{number}", memory_mib=512)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        for number, case in enumerate(cases):
            name = f"m{number}"
            shown, standing = await cloud.server(name), invariants.snapshot(world)
            keys = _keys(capability_matrix.ASKED[case.asked])
            answer = await cloud.live_migrate(name, host="h2", version="2.1000", **keys)
            assert answer.status_code == 202
            record = await asking.until_ended(cloud, name)
            if case.refusal is None:
                assert record.status is Status.COMPLETED, case
                said = await _details(cloud, name, instance_actions.EventName.CHECK_SOURCE)
                assert all(note in said for note in case.notes), (case, said)
                assert record.deadline is not None
                wants_one = capability_matrix.ASKED[case.asked].timeout_seconds != 0
                assert record.deadline.is_set is (wants_one and not case.notes)
                continue
            assert record.reason is not None
            assert (record.status, record.reason.slug) == (Status.ERROR, "capability_missing"), case
            assert (record.reason.message, record.reason.remedy) == (case.refusal.message, case.refusal.remedy)
            said = await _details(cloud, name, instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE)
            assert f"{case.refusal.message} {case.refusal.remedy}" in said
            now = await cloud.server(name)
            for field in ("status", "OS-EXT-STS:vm_state", "OS-EXT-STS:task_state", "OS-EXT-SRV-ATTR:host"):
                assert now[field] == shown[field], (case, field)
            assert invariants.snapshot(world) == standing
        await invariants.come_to_hold(cloud, before)


async def test_an_agent_too_old_is_named(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It can abort and does not know the keys: refused with them, and moved without."""
    _limit(world, "h1", dataclasses.replace(simulated.PROFILES["libvirt"].capabilities, per_migration_deadline=False))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "g1", host="h2", version="2.1000", timeout_seconds=30)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "capability_missing")
        assert "keep a deadline that comes with the request" in record.reason.message
        assert "Send neither timeout_seconds nor on_timeout" in record.reason.remedy
        assert invariants.snapshot(world) == before
        assert (await asking.move(cloud, "g1", host="h2")).status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_no_deadline_is_a_key_that_an_agent_too_old_must_know(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It would keep the configured deadline; at the destination nothing depends on it."""
    too_old = dataclasses.replace(simulated.PROFILES["libvirt"].capabilities, per_migration_deadline=False)
    _limit(world, "h2", too_old)
    async with make_cloud(world) as cloud:
        assert (await asking.move(cloud, "g1", host="h2", version="2.1000", timeout_seconds=0)).status is Status.COMPLETED
        # The guest is where the agent is too old.
        record = await asking.move(cloud, "g1", host="h1", version="2.1000", timeout_seconds=0)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "capability_missing")


@pytest.mark.parametrize(
    ("keys", "why"), [({}, "live_migration_completion_timeout is 0"), ({"timeout_seconds": 0}, "timeout_seconds is 0")]
)
async def test_an_action_without_a_deadline_is_told(
    make_cloud: clouds.MakeCloud, world: simulated.World, keys: dict[str, int], why: str
) -> None:
    """It is accepted, and the event of the check says that it will not be done."""
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 0}) as cloud:
        record = await asking.move(cloud, "g1", host="h2", version="2.1000", on_timeout="force_complete", **keys)
        assert record.status is Status.COMPLETED
        said = await _details(cloud, "g1", instance_actions.EventName.CHECK_SOURCE)
        assert f'on_timeout "force_complete" will not be done: the migration has no deadline, since {why}.' in said


async def test_another_destination_that_can_is_chosen(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """h2 would be preferred and its agent is too old; nobody named it, so the guest goes to h3."""
    world.hosts["h2"].memory_mib *= 2
    _limit(world, "h2", dataclasses.replace(simulated.PROFILES["libvirt"].capabilities, per_migration_deadline=False))
    async with make_cloud(world) as cloud:
        record = await asking.move(cloud, "g1", version="2.1000", timeout_seconds=30)
        assert (record.status, record.dest_compute) == (states.Status.COMPLETED, "h3")


@pytest.mark.parametrize("host", ["h1", "h2"])
async def test_a_paused_guest_needs_both_ends(make_cloud: clouds.MakeCloud, world: simulated.World, host: str) -> None:
    """Refused before any agent is asked to check; the guest stays paused."""
    world.add_guest("h1", "still", memory_mib=512, state=guest.GuestState.PAUSED)
    _limit(world, host, dataclasses.replace(simulated.PROFILES["libvirt"].capabilities, paused_guests=False))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "still", host="h2")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "capability_missing")
        assert "paused guest" in record.reason.message
        assert "Let the guest run first." in record.reason.remedy
        assert invariants.snapshot(world) == before


async def test_a_guest_whose_memory_cannot_follow_is_paused_instead(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Post-copy is permitted and both hosts can; the guest is what speaks against it."""
    disks, why = (conftest.disk("/shared/busy.raw"),), "its memory is in a file of the host"
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=disks, post_copy_obstacle=why)
    async with make_cloud(world, libvirt={"live_migration_permit_post_copy": True}) as cloud:
        before = invariants.snapshot(world)
        taken: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: taken.append(method) if is_done else None)
        record = await asking.move(cloud, "busy", host="h2", version="2.1000", timeout_seconds=10, on_timeout="force_complete")
        assert record.status is Status.COMPLETED
        assert ("start_post_copy" in taken, "pause_guest" in taken) == (False, True)
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("directory", ["/shared", "/own"])
async def test_copied_disks_rule_out_post_copy(make_cloud: clouds.MakeCloud, world: simulated.World, directory: str) -> None:
    """Permitted, and taken where disks are shared; where they travel in the same job the guest is paused instead."""
    disks = (conftest.disk(f"{directory}/busy.raw"),)
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=disks)
    async with make_cloud(world, libvirt={"live_migration_permit_post_copy": True}) as cloud:
        before = invariants.snapshot(world)
        taken: list[str] = []
        cloud.on_call.append(lambda _host, method, is_done: taken.append(method) if is_done else None)
        keys = {"timeout_seconds": 10, "on_timeout": "force_complete"}
        record = await asking.move(cloud, "busy", host="h2", version="2.1000", **keys)
        assert record.status is Status.COMPLETED
        is_shared = directory == "/shared"
        assert ("start_post_copy" in taken, "pause_guest" in taken) == (is_shared, not is_shared)
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("is_permitted_at_source", [True, False], ids=["source-permits", "source-does-not"])
async def test_whether_it_may_switch_to_post_copy_is_the_source_agents_to_say(
    make_cloud: clouds.MakeCloud, world: simulated.World, is_permitted_at_source: bool
) -> None:
    """Its agent is configured apart from the conductor, and it is the one who would do it; said again after it was reconfigured."""
    _limit(world, "h1", dataclasses.replace(simulated.PROFILES["libvirt"].capabilities, force_complete_by_pause=False))
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0, disks=(conftest.disk("/shared/busy.raw"),))
    async with make_cloud(world, libvirt={"live_migration_permit_post_copy": not is_permitted_at_source}) as cloud:
        section = dataclasses.replace(cloud.config.libvirt, live_migration_permit_post_copy=is_permitted_at_source)
        await cloud.agents["h1"].part.reload(dataclasses.replace(cloud.config, libvirt=section))
        await cloud.clock.sleep(5.0)
        asked = await cloud.request(
            "POST",
            asking.server_path(cloud, "busy", "/action"),
            version="2.1000",
            json={"os-checkMigrateLive": {"host": "h2", "block_migration": "auto", "timeout_seconds": 5, "on_timeout": "force_complete"}},
        )
        assert asked.status_code == 200
        record = await asking.move(cloud, "busy", host="h2", version="2.1000", timeout_seconds=5, on_timeout="force_complete")
        if is_permitted_at_source:
            assert (record.status, record.reason) == (Status.COMPLETED, None)
        else:
            assert record.reason is not None
            assert (record.status, record.reason.slug) == (Status.ERROR, "capability_missing")
        assert ("capability_missing" in asked.text) is not is_permitted_at_source


async def test_the_configured_deadline_is_the_source_agents_too(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Told before anything moves, and noted by the checks as what cannot be kept, by the agent's configuration and not the conductor's."""
    _limit(world, "h1", dataclasses.replace(simulated.PROFILES["libvirt"].capabilities, abort=False))
    async with make_cloud(world, libvirt={"live_migration_completion_timeout": 0}) as cloud:
        section = dataclasses.replace(cloud.config.libvirt, live_migration_completion_timeout=30)
        await cloud.agents["h1"].part.reload(dataclasses.replace(cloud.config, libvirt=section))
        await cloud.clock.sleep(5.0)
        asked = {"os-checkMigrateLive": {"host": "h2", "block_migration": "auto", "on_timeout": "force_complete"}}
        answer = await cloud.request("POST", asking.server_path(cloud, "g1", "/action"), version="2.1000", json=asked)
        assert "the deadline of 60 s (configuration), force_complete" in answer.text
        record = await asking.move(cloud, "g1", host="h2")
        assert record.status is Status.COMPLETED
        details = await _details(cloud, "g1", instance_actions.EventName.CHECK_SOURCE)
        assert "cannot abort a migration that is over its time" in details
