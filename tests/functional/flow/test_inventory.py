# SPDX-License-Identifier: Apache-2.0
"""Guests are discovered, and the record follows what people do to them behind our back; hosts come, go, and are switched off."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.functional.flow import asking
from wherry import errors
from wherry.drivers import simulated
from wherry.drivers.simulated import fleet
from wherry.model import guest, server
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status
_RUNNING = guest.GuestState.RUNNING


async def _shows(cloud: clouds.Cloud, name: str, *, seconds: float = 3.0, **wanted: Any) -> None:
    """Wait until the API shows the server so."""
    keys = {"host": "OS-EXT-SRV-ATTR:host", "status": "status", "name": "name"}

    async def is_so() -> bool:
        answer = await cloud.request("GET", asking.server_path(cloud, name))
        # Between its leaving one host and the other's next inventory it is nowhere.
        shown = answer.json().get("server", {})
        return all(shown.get(keys[key]) == value for key, value in wanted.items())

    await cloud.until(is_so, seconds=seconds)


def _carry(world: simulated.World, uuid: str, source: str, destination: str, *, leaves: bool = True) -> None:
    """Put a guest on another host, as `virsh migrate` by hand would."""
    local = world.hosts[source].guests[uuid]
    world.hosts[destination].guests[uuid] = fleet.Guest(local.spec, local.state)
    if leaves:
        del world.hosts[source].guests[uuid]


async def test_what_people_do_to_a_guest_is_recorded(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Paused, resumed, stopped: within seconds, by the hypervisor's hints."""
    async with make_cloud(world) as cloud:
        hand = simulated.Disturbances(world)
        uuid = cloud.uuid("g1")
        shown = await cloud.server("g1")
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"], shown["OS-EXT-STS:power_state"]) == ("ACTIVE", "h1", 1)
        hand.pause_guest("h1", uuid)
        await _shows(cloud, "g1", status="PAUSED")
        hand.resume_guest("h1", uuid)
        await _shows(cloud, "g1", status="ACTIVE")
        hand.destroy_guest("h1", uuid)
        await _shows(cloud, "g1", status="SHUTOFF")
        assert (await cloud.live_migrate("g1")).status_code == 409


async def test_without_hints_the_next_inventory_tells(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A guest is started, one is renamed and one is undefined without a signal: all known after an interval."""
    world.add_guest("h2", "old", memory_mib=512)
    world.add_guest("h2", "gone", memory_mib=512)
    async with make_cloud(world) as cloud:
        here = world.hosts["h2"]
        new = world.add_guest("h2", "new", memory_mib=256)
        old, gone = world.uuid_for("guest", "old"), world.uuid_for("guest", "gone")
        here.guests[old].spec = dataclasses.replace(here.guests[old].spec, name="renamed")
        del here.guests[gone]
        await cloud.clock.sleep(65.0)
        found = await cloud.store.read(lambda uow: uow.servers.find([new.uuid, old, gone]))
        assert (found[new.uuid].host, found[new.uuid].vm_state) == ("h2", server.VmState.ACTIVE)
        assert found[old].name == "renamed"
        assert found[gone].vm_state is server.VmState.DELETED
        assert (await cloud.request("GET", f"/v2.1/servers/{gone}")).status_code == 404


async def test_a_guest_moved_by_hand_changes_its_host(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The new host reports it, the old one has it no more: the record follows, and Wherry moves it on from there."""
    async with make_cloud(world) as cloud:
        _carry(world, cloud.uuid("g1"), "h1", "h2")
        await _shows(cloud, "g1", seconds=130, host="h2", status="ACTIVE")
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "g1", host="h3")
        assert (record.status, record.source_compute) == (Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before)


async def test_a_guest_that_was_taken_for_deleted_comes_back(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It is gone from its host for a while, then runs on another: one server, not deleted any more."""
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        local = world.hosts["h1"].guests.pop(uuid)
        await cloud.clock.sleep(65.0)
        assert (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404
        cloud.kill_agent("h1")
        world.hosts["h2"].guests[uuid] = local
        await cloud.clock.sleep(65.0)
        await _shows(cloud, "g1", host="h2", status="ACTIVE")


async def _disputes(cloud: clouds.Cloud) -> list[tuple[str, str, str, guest.GuestState]]:
    found = await cloud.store.read(lambda uow: uow.disputes.list())
    return [(one.instance_uuid, one.host, one.recorded_host, one.recorded_state) for one in found]


async def _record(cloud: clouds.Cloud, name: str) -> server.Server:
    return await cloud.store.read(lambda uow: uow.servers.get(cloud.uuid(name)))


@pytest.mark.parametrize("is_away", [False, True], ids=["answers", "away"])
async def test_a_guest_on_two_hosts_that_a_migration_brought_together(
    make_cloud: clouds.MakeCloud, world: simulated.World, is_away: bool
) -> None:
    """Both run it: ERROR, reason two_hosts, host unchanged. While the recorded host is away nothing is believed, and all is told."""
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        assert (await asking.move(cloud, "g1", host="h2")).status is Status.COMPLETED
        if is_away:
            cloud.kill_agent("h2")
        _carry(world, uuid, "h2", "h1", leaves=False)
        await cloud.clock.sleep(130.0)
        record = await _record(cloud, "g1")
        assert record.host == "h2"
        if is_away:
            assert (record.vm_state, record.reason) == (server.VmState.ACTIVE, None)
            assert await _disputes(cloud) == [(uuid, "h1", "h2", guest.GuestState.UNREACHABLE)]
        else:
            assert (record.vm_state, record.reason) == (server.VmState.ERROR, "two_hosts")
            assert await _disputes(cloud) == [(uuid, "h1", "h2", _RUNNING)]
            assert (await cloud.live_migrate("g1")).status_code == 409


@pytest.mark.parametrize("state", [_RUNNING, guest.GuestState.PAUSED, guest.GuestState.SHUT_OFF], ids=lambda state: state.value)
async def test_a_word_against_the_records_host_changes_nothing_and_is_told(
    make_cloud: clouds.MakeCloud, world: simulated.World, state: guest.GuestState
) -> None:
    """A host that the server never had to do with runs it too. Once it does not any more, nothing is left of it."""
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        _carry(world, uuid, "h1", "h2", leaves=False)
        world.hosts["h1"].guests[uuid].state = state
        await cloud.clock.sleep(130.0)
        record = await _record(cloud, "g1")
        assert (record.host, record.vm_state, record.reason) == ("h1", server.STATES_OF_GUEST[state][0], None)
        assert await _disputes(cloud) == [(uuid, "h2", "h1", state)]
        del world.hosts["h2"].guests[uuid]
        await cloud.clock.sleep(65.0)
        assert await _disputes(cloud) == []


async def test_a_disputed_server_follows_its_guest_once_the_old_host_has_it_no_more(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    """Somebody started it elsewhere and left what is off where it was: told, until that is undefined."""
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        _carry(world, uuid, "h1", "h2", leaves=False)
        world.hosts["h1"].guests[uuid].state = guest.GuestState.SHUT_OFF
        await cloud.clock.sleep(65.0)
        assert (await _record(cloud, "g1")).host == "h1"
        del world.hosts["h1"].guests[uuid]
        await _shows(cloud, "g1", seconds=130, host="h2", status="ACTIVE")
        await cloud.clock.sleep(65.0)
        assert await _disputes(cloud) == []


async def test_a_guest_of_a_host_that_was_called_dead_is_where_it_was_started_again(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    """Silence moves nothing; an operator's word that the host is down does."""
    async with make_cloud(world) as cloud:
        uuid = cloud.uuid("g1")
        cloud.kill_agent("h1")
        _carry(world, uuid, "h1", "h2")
        await cloud.clock.sleep(130.0)
        assert (await _record(cloud, "g1")).host == "h1"
        assert await _disputes(cloud) == [(uuid, "h2", "h1", guest.GuestState.UNREACHABLE)]
        await cloud.store.run(lambda uow: uow.hosts.update_service("h1", is_forced_down=True))
        await _shows(cloud, "g1", seconds=70, host="h2", status="ACTIVE")


async def test_an_incoming_guest_is_no_second_server(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """While it is migrated in, inventories of both hosts change nothing: one server, on its source, MIGRATING."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0)
    async with make_cloud(world, agent={"driver": "simulated", "inventory_interval_seconds": 1.0}) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(20.0)
        listed = (await cloud.request("GET", "/v2.1/servers/detail?all_tenants=1")).json()["servers"]
        assert sorted(one["name"] for one in listed) == ["busy", "g1"]
        shown = await cloud.server("busy")
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("MIGRATING", "h1")
        assert (await asking.abort(cloud, "busy")).status_code == 202
        await invariants.come_to_hold(cloud, before)


async def test_a_disabled_and_a_dead_host_are_not_chosen(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """With one disabled and one forced down there is no other host, and the reason names why each is none."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await cloud.store.run(lambda uow: uow.hosts.update_service("h2", is_disabled=True, disabled_reason="disk"))
        await cloud.store.run(lambda uow: uow.hosts.update_service("h3", is_forced_down=True))
        record = await asking.move(cloud, "g1")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "no_valid_host")
        assert "h2 is disabled (disk)" in record.reason.message
        assert "Compute service of h3 is unavailable" in record.reason.message
        await cloud.store.run(lambda uow: uow.hosts.update_service("h2", is_disabled=False))
        record = await asking.move(cloud, "g1")
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h2")
        await invariants.come_to_hold(cloud, before)


async def test_a_guest_leaves_a_disabled_host(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Disabling a host keeps servers from coming, not from going."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        await cloud.store.run(lambda uow: uow.hosts.update_service("h1", is_disabled=True))
        assert (await asking.move(cloud, "g1")).status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_a_silent_host_is_down_after_a_minute(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Before that it is asked and its silence ends the check; then it is not even asked."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        cloud.kill_agent("h2")
        first = await asking.move(cloud, "g1")
        assert (first.status, first.dest_compute) == (Status.COMPLETED, "h3")
        asked = [host for name, host, _ in await asking.events_of(cloud, "g1") if "destination" in name]
        assert "h2" in asked
        await cloud.clock.sleep(90.0)
        second = await asking.move(cloud, "g1")
        assert second.dest_compute == "h1"
        assert "h2" not in {host for _name, host, _ in await asking.events_of(cloud, "g1")}
        await cloud.start_agent("h2")
        await invariants.come_to_hold(cloud, before)


async def test_a_second_agent_of_a_living_host_is_refused(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The journal is locked by the first one."""
    async with make_cloud(world) as cloud:
        first = cloud.agents.pop("h2")
        with pytest.raises(errors.JournalLocked):
            await cloud.start_agent("h2")
        cloud.agents["h2"] = first
