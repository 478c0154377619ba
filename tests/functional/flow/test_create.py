# SPDX-License-Identifier: Apache-2.0
"""Servers are made and deleted, from the request to the guest and its files, whatever goes wrong on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

_BUILD = "compute__do_build_and_run_instance"
_SCHEDULE = "conductor_schedule_and_build_instances"
_DESTROY = "compute_terminate_instance"


async def test_a_server_is_made_and_deleted_and_nothing_is_left(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        guests, files = making.guests_of(cloud), making.files_of(cloud)
        answer = await making.ask(cloud, metadata={"tier": "gold"}, description="words", tags=["b", "a"])
        assert answer.status_code == 202
        assert answer.headers["x-openstack-request-id"] == answer.headers["x-compute-request-id"]
        body = answer.json()["server"]
        assert set(body) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
        uuid, request_id = body["id"], answer.headers["x-openstack-request-id"]
        begun = await making.show(cloud, uuid)
        assert (begun["status"], begun["OS-EXT-STS:vm_state"]) == ("BUILD", "building")
        await making.until_free(cloud, uuid)
        made = await making.show(cloud, uuid, "2.98")
        assert (made["status"], made["OS-EXT-STS:task_state"], made["OS-EXT-STS:power_state"]) == ("ACTIVE", None, 1)
        assert made["OS-EXT-SRV-ATTR:host"] in world.hosts
        assert (made["metadata"], made["description"], made["tags"]) == ({"tier": "gold"}, "words", ["b", "a"])
        assert (made["flavor"]["original_name"], made["image"]["properties"]) == ("m1.tiny", {})
        assert made["OS-SRV-USG:launched_at"] is not None
        host = made["OS-EXT-SRV-ATTR:host"]
        assert world.host(host).guests[uuid].spec.name == made["OS-EXT-SRV-ATTR:instance_name"]
        assert await making.events(cloud, uuid, request_id) == [(_SCHEDULE, "control", "Success"), (_BUILD, host, "Success")]
        # The inventory has its say and changes nothing.
        await cloud.clock.sleep(200)
        assert await making.show(cloud, uuid, "2.98") == made
        deletion = await making.delete(cloud, uuid)
        await making.until_free(cloud, uuid)
        assert (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404
        assert await making.events(cloud, uuid, deletion) == [(_DESTROY, host, "Success")]
        assert (making.guests_of(cloud), making.files_of(cloud)) == (guests, files)
        await cloud.clock.sleep(200)
        listed = (await cloud.request("GET", "/v2.1/servers/detail?deleted=true")).json()["servers"]
        assert [(one["id"], one["status"]) for one in listed] == [(uuid, "DELETED")]
        path = f"/v2.1/servers/{uuid}/os-instance-actions"
        actions = (await cloud.request("GET", path)).json()["instanceActions"]
        assert sorted(one["action"] for one in actions) == ["create", "delete"]
        assert (await cloud.request("GET", path, version="2.20")).status_code == 404


async def test_a_discovered_guest_is_deleted_and_its_disk_stays(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        files = making.files_of(cloud)
        uuid = cloud.uuid("g1")
        await making.delete(cloud, uuid)
        await making.until_free(cloud, uuid)
        await cloud.clock.sleep(200)
        assert making.guests_of(cloud) == {"h1": [], "h2": [], "h3": []}
        assert making.files_of(cloud) == files


async def test_a_host_that_cannot_is_left_clean_and_the_next_one_builds(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    fault = simulated.CallFault(kind=simulated.FaultKind.RAISE, method="build_guest", slug="build_failed", when=simulated.When.AFTER)
    world.faults.add(fault)
    async with make_cloud(world) as cloud:
        uuid, request_id = await making.create(cloud)
        await making.until_free(cloud, uuid)
        made = await making.show(cloud, uuid)
        assert made["status"] == "ACTIVE"
        told = await making.events(cloud, uuid, request_id)
        assert [(name, result) for name, _, result in told] == [
            (_SCHEDULE, "Success"),
            (_BUILD, "Error"),
            (_SCHEDULE, "Success"),
            (_BUILD, "Success"),
        ]
        assert told[1][1] != told[3][1] == made["OS-EXT-SRV-ATTR:host"]
        assert sum(uuid in guests for guests in making.guests_of(cloud).values()) == 1
        assert sum(f"{uuid}.qcow2" in names for names in making.files_of(cloud).values()) == 1


async def test_a_server_that_no_host_can_make_is_in_error_with_a_fault(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        await cloud.request("POST", "/v2.1/flavors", json={"flavor": {"name": "huge", "id": "9", "ram": 10_000_000, "vcpus": 1, "disk": 0}})
        guests, files = making.guests_of(cloud), making.files_of(cloud)
        uuid, request_id = await making.create(cloud, flavorRef="9")
        await making.until_free(cloud, uuid)
        shown = await making.show(cloud, uuid)
        assert (shown["status"], shown["OS-EXT-STS:task_state"], shown["OS-EXT-SRV-ATTR:host"]) == ("ERROR", None, None)
        assert shown["fault"]["message"].startswith("No valid host")
        assert await making.events(cloud, uuid, request_id) == [(_SCHEDULE, "control", "Error")]
        await making.delete(cloud, uuid)
        await making.until_free(cloud, uuid)
        assert (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404
        assert (making.guests_of(cloud), making.files_of(cloud)) == (guests, files)


@pytest.mark.parametrize("zone", ["nova:h2", "nova:h2:h2", ":h2"])
async def test_an_administrator_names_the_host(make_cloud: clouds.MakeCloud, world: simulated.World, zone: str) -> None:
    async with make_cloud(world) as cloud:
        uuid, _ = await making.create(cloud, availability_zone=zone)
        await making.until_free(cloud, uuid)
        assert (await making.show(cloud, uuid))["OS-EXT-SRV-ATTR:host"] == "h2"


async def test_several_servers_are_made_at_once(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        answer = await making.ask(cloud, min_count=3, return_reservation_id=True)
        reservation = answer.json()["reservation_id"]

        async def all_active() -> list[dict[str, Any]]:
            path = f"/v2.1/servers/detail?reservation_id={reservation}"
            found = (await cloud.request("GET", path)).json()["servers"]
            return found if {one["status"] for one in found} == {"ACTIVE"} else []

        servers = await cloud.until(all_active)
        assert sorted(one["name"] for one in servers) == ["new-1", "new-2", "new-3"]
        # The emptiest host is the heaviest, and each claim counts at once.
        assert len({one["OS-EXT-SRV-ATTR:host"] for one in servers}) > 1


async def test_a_server_is_deleted_while_it_is_made(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.faults.add(simulated.CallFault(kind=simulated.FaultKind.DELAY, method="build_guest", seconds=20.0))
    async with make_cloud(world) as cloud:
        guests, files = making.guests_of(cloud), making.files_of(cloud)
        uuid, _ = await making.create(cloud)
        await cloud.clock.sleep(5.0)
        deletion = await making.delete(cloud, uuid)
        again = await cloud.request("DELETE", f"/v2.1/servers/{uuid}")
        assert again.status_code == 204

        async def is_gone() -> bool:
            return (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404

        await cloud.until(is_gone)
        assert (making.guests_of(cloud), making.files_of(cloud)) == (guests, files)
        assert (await making.events(cloud, uuid, deletion))[-1][0] == _DESTROY
        actions = (await cloud.request("GET", f"/v2.1/servers/{uuid}/os-instance-actions")).json()["instanceActions"]
        assert sorted(one["action"] for one in actions) == ["create", "delete"]


async def test_a_server_is_deleted_while_it_is_migrated(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h1", "busy", memory_mib=8192, dirty_mib_per_s=5000.0)
    async with make_cloud(world) as cloud:
        await cloud.live_migrate("busy", host="h2")
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        uuid = cloud.uuid("busy")
        await making.delete(cloud, uuid)

        async def is_gone() -> bool:
            return (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404

        await cloud.until(is_gone)
        assert (await asking.migration_of(cloud, "busy")).status is asking.Status.CANCELLED
        assert all(uuid not in host.guests for host in world.hosts.values())


async def test_the_console_is_shown(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        uuid, _ = await making.create(cloud)
        await making.until_free(cloud, uuid)
        path = f"/v2.1/servers/{uuid}/action"
        answer = await cloud.request("POST", path, json={"os-getConsoleOutput": {}})
        assert (answer.status_code, answer.json()["output"].split(" on ")[0]) == (200, "tiny boots")
        answer = await cloud.request("POST", path, json={"os-getConsoleOutput": {"length": 0}})
        assert answer.json() == {"output": ""}
        # Nova counts what stands after the last line break, which is nothing.
        last = (await cloud.request("POST", path, json={"os-getConsoleOutput": {"length": 2}})).json()["output"].split("\n")
        assert (last[0].split(":")[0], last[1:]) == ("disk", [""])


async def test_a_created_server_moves_as_any_other(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        uuid, _ = await making.create(cloud, availability_zone="nova:h1")
        await making.until_free(cloud, uuid)
        body = {"os-migrateLive": {"host": "h2", "block_migration": "auto"}}
        assert (await cloud.request("POST", f"/v2.1/servers/{uuid}/action", json=body)).status_code == 202
        await making.until_free(cloud, uuid)
        assert (await making.show(cloud, uuid))["OS-EXT-SRV-ATTR:host"] == "h2"
        assert world.host("h2").guests[uuid].state is guest.GuestState.RUNNING
        files = making.files_of(cloud)
        await making.delete(cloud, uuid)
        await making.until_free(cloud, uuid)
        assert all(uuid not in host.guests for host in world.hosts.values())
        assert not [name for names in making.files_of(cloud).values() for name in names if uuid in name], files


async def test_a_resized_server_is_confirmed_by_its_deletion(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        guests, files = making.guests_of(cloud), making.files_of(cloud)
        uuid, _ = await making.create(cloud, availability_zone="nova:h1")
        await making.until_free(cloud, uuid)
        answer = await cloud.request("POST", f"/v2.1/servers/{uuid}/action", json={"resize": {"flavorRef": "2"}})
        assert answer.status_code == 202, answer.text
        await making.until_free(cloud, uuid)
        assert (await making.show(cloud, uuid))["status"] == "VERIFY_RESIZE"
        request_id = await making.delete(cloud, uuid)

        async def is_gone() -> bool:
            return (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404

        await cloud.until(is_gone)
        await making.until_free(cloud, uuid)
        assert (making.guests_of(cloud), making.files_of(cloud)) == (guests, files)
        assert (await making.events(cloud, uuid, request_id))[-1][0] == _DESTROY
