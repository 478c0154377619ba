# SPDX-License-Identifier: Apache-2.0
"""Hypervisors over HTTP: fields of each version, ids, servers, patterns and pages."""

from __future__ import annotations

import dataclasses

import pytest

from tests.functional.api import conftest

BRIEF = {"id", "hypervisor_hostname", "state", "status"}
FULL = BRIEF | {"hypervisor_type", "hypervisor_version", "host_ip", "service"}
COUNTERS = {
    *("vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "free_ram_mb", "local_gb", "local_gb_used", "free_disk_gb"),
    *("disk_available_least", "running_vms", "current_workload", "cpu_info"),
}


@pytest.mark.parametrize(
    ("version", "keys", "cpu_info"),
    [
        ("2.1", FULL | COUNTERS, str),
        ("2.27", FULL | COUNTERS, str),
        ("2.28", FULL | COUNTERS, dict),
        ("2.87", FULL | COUNTERS, dict),
        ("2.88", FULL | {"uptime"}, None),
        ("2.104", FULL | {"uptime"}, None),
        ("2.1000", FULL | {"uptime", "driver", "driver_manager_version", "capabilities"}, None),
    ],
)
async def test_fields_by_version(cloud: conftest.Cloud, version: str, keys: set[str], cpu_info: type | None) -> None:
    brief = (await cloud.get("/v2.1/os-hypervisors", version)).json()["hypervisors"]
    assert [one["hypervisor_hostname"] for one in brief] == ["h1.example", "h2.example", "h3.example"]
    assert all(set(one) == BRIEF for one in brief)
    detailed = (await cloud.get("/v2.1/os-hypervisors/detail", version)).json()["hypervisors"]
    shown = (await cloud.get(f"/v2.1/os-hypervisors/{brief[0]['id']}", version)).json()["hypervisor"]
    assert set(detailed[0]) == set(shown) == keys
    assert shown["service"] == {"id": brief[0]["id"], "host": "h1", "disabled_reason": None}
    if cpu_info is not None:
        assert isinstance(shown["cpu_info"], cpu_info)


async def test_the_flags_of_each_host_are_shown(cloud: conftest.Cloud) -> None:
    """Every flag that there is, as the host's agent reported it."""
    shown = (await cloud.get("/v2.1/os-hypervisors/detail", "2.1000")).json()["hypervisors"]
    stored = {host.description.hypervisor_hostname: host.description for host in await cloud.store.read(lambda uow: uow.hosts.list())}
    for one in shown:
        assert one["capabilities"] == dataclasses.asdict(stored[one["hypervisor_hostname"]].capabilities)
        assert one["driver"] == stored[one["hypervisor_hostname"]].driver
    assert {"abort", "per_migration_deadline", "force_complete_by_post_copy"} <= set(shown[0]["capabilities"])


async def test_counters_count_servers_and_what_is_on_its_way(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, memory_mib=2048, vcpus=2)
    await cloud.migrate(server.uuid, host="h2")
    first = (await cloud.get("/v2.1/os-hypervisors/detail", "2.87")).json()["hypervisors"][0]
    assert (first["memory_mb"], first["memory_mb_used"], first["free_ram_mb"]) == (16384, 2048, 14336)
    assert (first["vcpus_used"], first["running_vms"], first["current_workload"]) == (2, 1, 1)
    assert (first["local_gb"], first["local_gb_used"], first["free_disk_gb"]) == (100, 40, 60)


async def test_servers_are_listed_when_asked_for(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    path = "/v2.1/os-hypervisors?with_servers=True&hypervisor_hostname_pattern="
    shown = (await cloud.get(f"{path}h1")).json()["hypervisors"]
    assert [one["servers"] for one in shown] == [[{"uuid": server.uuid, "name": "server-1"}]]
    assert (await cloud.get(f"{path}h2")).json()["hypervisors"][0]["servers"] == []
    assert "servers" not in (await cloud.get(f"{path}h2", "2.74")).json()["hypervisors"][0]
    assert "servers" not in (await cloud.get("/v2.1/os-hypervisors")).json()["hypervisors"][0]


@pytest.mark.parametrize(
    ("query", "version", "code"),
    [
        ("hypervisor_hostname_pattern=nowhere", "2.53", 404),
        ("hypervisor_hostname_pattern=h&limit=1", "2.53", 400),
        ("hypervisor_hostname_pattern=nowhere", "2.52", 200),
        ("marker=7", "2.53", 400),
        ("marker=999", "2.33", 400),
        (f"marker={conftest.UUID.format(9)}", "2.53", 400),
        ("limit=x", "2.33", 400),
        ("limit=x", "2.32", 200),
        ("nonsense=1", "2.74", 200),
        ("nonsense=1", "2.75", 400),
    ],
)
async def test_a_query_is_judged_by_its_version(cloud: conftest.Cloud, query: str, version: str, code: int) -> None:
    assert (await cloud.get(f"/v2.1/os-hypervisors?{query}", version)).status_code == code


@pytest.mark.parametrize("version", ["2.33", "2.53"])
async def test_pages_follow_their_links(cloud: conftest.Cloud, version: str) -> None:
    path: str | None = "/v2.1/os-hypervisors/detail?limit=2"
    seen: list[str] = []
    while path is not None:
        content = (await cloud.get(path, version)).json()
        seen += [one["service"]["host"] for one in content["hypervisors"]]
        path = content["hypervisors_links"][0]["href"] if "hypervisors_links" in content else None
    assert seen == ["h1", "h2", "h3"]
    assert "hypervisors_links" not in (await cloud.get("/v2.1/os-hypervisors?limit=2", "2.32")).json()


@pytest.mark.parametrize(
    ("named", "version", "code"),
    [
        ("1", "2.52", 200),
        ("99", "2.52", 404),
        ("h1", "2.52", 404),
        ("1", "2.53", 400),
        ("h1.example", "2.88", 400),
        (conftest.UUID.format(9), "2.53", 404),
    ],
)
async def test_show_by_the_versions_kind_of_id(cloud: conftest.Cloud, named: str, version: str, code: int) -> None:
    assert (await cloud.get(f"/v2.1/os-hypervisors/{named}", version)).status_code == code


async def test_hypervisors_are_the_administrators(cloud: conftest.Cloud) -> None:
    for path in ("", "/detail", "/1"):
        assert (await cloud.get(f"/v2.1/os-hypervisors{path}", token=conftest.MANAGER)).status_code == 403


async def test_search_finds_by_a_part_of_the_name_up_to_2_52(cloud: conftest.Cloud) -> None:
    await cloud.add_server(1, "h2")
    found = (await cloud.get("/v2.1/os-hypervisors/h2/search", "2.52")).json()["hypervisors"]
    assert [(one["hypervisor_hostname"], set(one)) for one in found] == [("h2.example", {"id", "hypervisor_hostname", "state", "status"})]
    assert len((await cloud.get("/v2.1/os-hypervisors/example/search", "2.1")).json()["hypervisors"]) == 3
    assert (await cloud.get("/v2.1/os-hypervisors/nothing/search", "2.52")).status_code == 404
    assert (await cloud.get("/v2.1/os-hypervisors/h2/search", "2.53")).status_code == 404


async def test_servers_are_listed_by_hypervisor_up_to_2_52(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, "h2")
    found = (await cloud.get("/v2.1/os-hypervisors/example/servers", "2.52")).json()["hypervisors"]
    assert [one.get("servers") for one in found] == [None, [{"uuid": server.uuid, "name": "server-1"}], None]
    assert (await cloud.get("/v2.1/os-hypervisors/nothing/servers", "2.52")).status_code == 404
    assert (await cloud.get("/v2.1/os-hypervisors/h2/servers", "2.53")).status_code == 404


async def test_statistics_add_up_what_is_not_disabled_up_to_2_87(cloud: conftest.Cloud) -> None:
    await cloud.add_server(1, "h2", memory_mib=1024, vcpus=2)
    statistics = (await cloud.get("/v2.1/os-hypervisors/statistics", "2.87")).json()["hypervisor_statistics"]
    assert (statistics["count"], statistics["memory_mb"], statistics["memory_mb_used"]) == (3, 3 * 16384, 1024)
    assert (statistics["vcpus"], statistics["vcpus_used"], statistics["running_vms"]) == (24, 2, 1)
    hypervisor = (await cloud.get("/v2.1/os-hypervisors/detail", "2.87")).json()["hypervisors"][0]
    await cloud.request("PUT", f"/v2.1/os-services/{hypervisor['service']['id']}", json={"status": "disabled"})
    assert (await cloud.get("/v2.1/os-hypervisors/statistics", "2.1")).json()["hypervisor_statistics"]["count"] == 2
    assert (await cloud.get("/v2.1/os-hypervisors/statistics", "2.88")).status_code == 404


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59.0, "up 0 min"),
        (9 * 60.0, "up 9 min"),
        (3600.0, "up  1:00"),
        (86400.0 + 120, "up 1 day, 2 min"),
        (3 * 86400.0 + 4 * 3600 + 5 * 60, "up 3 days,  4:05"),
    ],
)
async def test_an_uptime_goes_on_from_when_it_was_told(cloud: conftest.Cloud, seconds: float, text: str) -> None:
    host = await cloud.add_host("h9", uptime_seconds=seconds)
    shown = (await cloud.get(f"/v2.1/os-hypervisors/{host.id}/uptime", "2.52")).json()["hypervisor"]
    assert shown == {"id": host.id, "hypervisor_hostname": "h9.example", "state": "up", "status": "enabled", "uptime": text}
    by_uuid = (await cloud.get(f"/v2.1/os-hypervisors/{host.uuid}/uptime", "2.87")).json()["hypervisor"]
    assert by_uuid == shown | {"id": host.uuid}
    assert (await cloud.get(f"/v2.1/os-hypervisors/{host.uuid}")).json()["hypervisor"]["uptime"] == text
    stored = await cloud.store.read(lambda uow: uow.hosts.get("h9"))
    assert stored.booted_at is not None
    assert (stored.last_seen_at - stored.booted_at).total_seconds() == seconds


async def test_of_a_host_that_is_down_nobody_knows_an_uptime(cloud: conftest.Cloud) -> None:
    host = await cloud.add_host("h9", uptime_seconds=60.0)
    await cloud.request("PUT", f"/v2.1/os-services/{host.uuid}", json={"forced_down": True})
    answer = await cloud.get(f"/v2.1/os-hypervisors/{host.id}/uptime", "2.52")
    assert (answer.status_code, answer.json()["badRequest"]["message"][:15]) == (400, "Host h9 is down")
    assert (await cloud.get(f"/v2.1/os-hypervisors/{host.uuid}")).json()["hypervisor"]["uptime"] is None


async def test_where_no_driver_tells_an_uptime_it_is_refused_and_the_call_ends_with_2_87(cloud: conftest.Cloud) -> None:
    answer = await cloud.get("/v2.1/os-hypervisors/1/uptime", "2.52")
    assert answer.status_code == 400
    assert "Asking a hypervisor for its uptime is not supported by the simulated driver" in answer.text
    assert (await cloud.get("/v2.1/os-hypervisors/999/uptime", "2.52")).status_code == 404
    assert (await cloud.get("/v2.1/os-hypervisors/1/uptime", "2.88")).status_code == 404


@pytest.mark.parametrize(
    ("known", "shown"), [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::7"), ("h9", "0.0.0.0"), ("", "0.0.0.0")]
)
async def test_the_address_is_always_one_in_numbers(cloud: conftest.Cloud, known: str, shown: str) -> None:
    """Clients refuse anything else: tempest finds a host's name here invalid."""
    host = await cloud.add_host("h9", host_address=known)
    answer = await cloud.get(f"/v2.1/os-hypervisors/{host.uuid}")
    assert answer.json()["hypervisor"]["host_ip"] == shown
