# SPDX-License-Identifier: Apache-2.0
"""Flavors, limits, zones, aggregates and diagnostics over HTTP: what clients look up beside servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import guest
from wherry.model import server as server_model


async def _three_sizes(cloud: conftest.Cloud) -> None:
    await cloud.add_server(1, memory_mib=512, vcpus=1)
    await cloud.add_server(2, memory_mib=512, vcpus=1)
    await cloud.add_server(3, memory_mib=2048, vcpus=4, root_gib=20)
    await cloud.add_server(4, memory_mib=1024, vcpus=2, project_id="p2")


@pytest.mark.parametrize(
    ("query", "token", "ids"),
    [
        ("", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("", conftest.ADMIN, ["c1-m512-d0", "c2-m1024-d0", "c4-m2048-d20"]),
        ("is_public=None", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("is_public=true", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("is_public=false", conftest.READER, []),
        ("minRam=1024", conftest.READER, ["c4-m2048-d20"]),
        ("minDisk=21", conftest.READER, []),
        ("sort_key=memory_mb&sort_dir=desc", conftest.ADMIN, ["c4-m2048-d20", "c2-m1024-d0", "c1-m512-d0"]),
        ("limit=1", conftest.ADMIN, ["c1-m512-d0"]),
        ("marker=c1-m512-d0", conftest.ADMIN, ["c2-m1024-d0", "c4-m2048-d20"]),
    ],
)
async def test_there_is_a_flavor_for_each_size_that_the_projects_servers_have(
    cloud: conftest.Cloud, query: str, token: str, ids: list[str]
) -> None:
    await _three_sizes(cloud)
    for path in ("flavors", "flavors/detail"):
        answer = await cloud.get(f"/v2.1/{path}?{query}", token=token)
        assert answer.status_code == 200
        assert [one["id"] for one in answer.json()["flavors"]] == ids


@pytest.mark.parametrize("query", ["minRam=x", "minDisk=-1", "marker=nothing", "sort_key=colour", "sort_dir=up", "limit=-1", "nonsense=1"])
async def test_queries_of_flavors_that_are_refused(cloud: conftest.Cloud, query: str) -> None:
    assert (await cloud.get(f"/v2.1/flavors?{query}")).status_code == 400


async def test_pages_of_flavors_follow_their_links(cloud: conftest.Cloud) -> None:
    await _three_sizes(cloud)
    path: str | None = "/v2.1/flavors?limit=1"
    seen: list[str] = []
    while path is not None:
        content = (await cloud.get(path)).json()
        seen += [one["id"] for one in content["flavors"]]
        path = content["flavors_links"][0]["href"] if "flavors_links" in content else None
    assert seen == ["c1-m512-d0", "c2-m1024-d0", "c4-m2048-d20"]


_FLAVOR = {
    *("id", "name", "links", "ram", "vcpus", "disk", "swap", "rxtx_factor"),
    *("OS-FLV-EXT-DATA:ephemeral", "OS-FLV-DISABLED:disabled", "os-flavor-access:is_public"),
}


@pytest.mark.parametrize(
    ("version", "added", "swap"),
    [("2.1", set(), ""), ("2.55", {"description"}, ""), ("2.61", {"description", "extra_specs"}, ""), ("2.75", None, 0)],
)
async def test_a_flavor_is_read_from_its_id(cloud: conftest.Cloud, version: str, added: set[str] | None, swap: Any) -> None:
    flavor = (await cloud.get("/v2.1/flavors/c3-m768-d5", version, token=conftest.READER)).json()["flavor"]
    assert set(flavor) == _FLAVOR | ({"description", "extra_specs"} if added is None else added)
    assert (flavor["vcpus"], flavor["ram"], flavor["disk"], flavor["swap"]) == (3, 768, 5, swap)


@pytest.mark.parametrize("named", ["m1.tiny", "c1-m512", "c-1-m512-d0", "7"])
async def test_other_names_are_no_flavors(cloud: conftest.Cloud, named: str) -> None:
    assert (await cloud.get(f"/v2.1/flavors/{named}")).status_code == 404
    assert (await cloud.get(f"/v2.1/flavors/{named}/os-extra_specs")).status_code == 404


async def test_flavors_have_no_extra_specs(cloud: conftest.Cloud) -> None:
    assert (await cloud.get("/v2.1/flavors/c1-m512-d0/os-extra_specs", token=conftest.READER)).json() == {"extra_specs": {}}


async def test_the_flavor_of_a_server_can_be_shown(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, memory_mib=2048, vcpus=4, root_gib=20)
    linked = (await cloud.get(f"/v2.1/servers/{server.uuid}", "2.46")).json()["server"]["flavor"]
    flavor = (await cloud.get(f"/v2.1/flavors/{linked['id']}")).json()["flavor"]
    assert (flavor["ram"], flavor["vcpus"], flavor["disk"]) == (2048, 4, 20)


async def test_limits_are_none_and_say_what_is_used(cloud: conftest.Cloud) -> None:
    await _three_sizes(cloud)
    absolute = (await cloud.get("/v2.1/limits", token=conftest.READER)).json()["limits"]["absolute"]
    assert (absolute["totalInstancesUsed"], absolute["totalCoresUsed"], absolute["totalRAMUsed"]) == (3, 6, 3072)
    assert absolute["maxTotalInstances"] == -1
    other = (await cloud.get("/v2.1/limits?tenant_id=p2")).json()["limits"]["absolute"]
    assert (other["totalInstancesUsed"], other["totalRAMUsed"]) == (1, 1024)
    nothing = (await cloud.get("/v2.1/limits?tenant_id=p7")).json()["limits"]["absolute"]
    assert (nothing["totalInstancesUsed"], nothing["totalRAMUsed"]) == (0, 0)
    assert (await cloud.get("/v2.1/limits?tenant_id=p2", token=conftest.MANAGER)).status_code == 403


@pytest.mark.parametrize(
    ("version", "gone", "kept"),
    [
        ("2.35", set(), {"maxSecurityGroups", "maxImageMeta", "maxPersonality"}),
        ("2.36", {"maxSecurityGroups"}, {"maxImageMeta", "maxPersonality"}),
        ("2.39", {"maxSecurityGroups", "maxImageMeta"}, {"maxPersonality"}),
        ("2.57", {"maxSecurityGroups", "maxImageMeta", "maxPersonality"}, {"maxServerGroups"}),
    ],
)
async def test_limits_by_version(cloud: conftest.Cloud, version: str, gone: set[str], kept: set[str]) -> None:
    absolute = set((await cloud.get("/v2.1/limits", version)).json()["limits"]["absolute"])
    assert absolute & gone == set()
    assert kept <= absolute


async def test_zones_are_those_of_the_hosts(cloud: conftest.Cloud) -> None:
    zones = (await cloud.get("/v2.1/os-availability-zone", token=conftest.READER)).json()["availabilityZoneInfo"]
    assert zones == [{"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]
    (zone,) = (await cloud.get("/v2.1/os-availability-zone/detail")).json()["availabilityZoneInfo"]
    assert set(zone["hosts"]) == {"h1", "h2", "h3"}
    assert set(zone["hosts"]["h1"]["nova-compute"]) == {"available", "active", "updated_at"}
    assert (await cloud.get("/v2.1/os-availability-zone/detail", token=conftest.MANAGER)).status_code == 403


async def test_a_zone_without_an_enabled_host_is_not_available(cloud: conftest.Cloud) -> None:
    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        for name in ("h1", "h2", "h3"):
            await uow.hosts.update_service(name, is_disabled=True)

    await cloud.store.run(unit)
    (zone,) = (await cloud.get("/v2.1/os-availability-zone")).json()["availabilityZoneInfo"]
    assert zone["zoneState"] == {"available": False}


async def test_there_are_no_aggregates(cloud: conftest.Cloud) -> None:
    assert (await cloud.get("/v2.1/os-aggregates", "2.81")).json() == {"aggregates": []}
    assert (await cloud.get("/v2.1/os-aggregates/1")).status_code == 404
    assert (await cloud.get("/v2.1/os-aggregates", token=conftest.MANAGER)).status_code == 403


async def test_diagnostics_say_what_the_record_says(cloud: conftest.Cloud) -> None:
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source="/images/a")
    server = await cloud.add_server(1, memory_mib=512, vcpus=2, disks=(disk,))
    path = f"/v2.1/servers/{server.uuid}/diagnostics"
    shown = (await cloud.get(path, "2.48")).json()
    assert (shown["state"], shown["num_cpus"], shown["num_disks"], shown["memory_details"]["maximum"]) == ("running", 2, 1, 512)
    assert (shown["driver"], shown["hypervisor"]) == ("simulated", "qemu")
    assert (await cloud.get(path, "2.47")).json() == {"memory": 524288, "vcpus": 2}
    assert (await cloud.get(path, token=conftest.MANAGER)).status_code == 403
    await cloud.update(server.uuid, power_state=server_model.PowerState.SHUTDOWN)
    refused = await cloud.get(path)
    assert refused.status_code == 409
    assert "in power_state shutdown" in refused.json()["conflictingRequest"]["message"]
