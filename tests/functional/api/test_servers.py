# SPDX-License-Identifier: Apache-2.0
"""Servers over HTTP: fields of each version, who sees what, filters and pages."""

from __future__ import annotations

import hashlib

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import server as server_model

#: Keys that everybody sees at 2.1.
BASE = {
    *("id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor", "created", "updated", "addresses"),
    *("accessIPv4", "accessIPv6", "links", "OS-DCF:diskConfig", "OS-EXT-AZ:availability_zone", "config_drive", "key_name", "progress"),
    *("OS-SRV-USG:launched_at", "OS-SRV-USG:terminated_at", "security_groups", "os-extended-volumes:volumes_attached"),
    *("OS-EXT-STS:task_state", "OS-EXT-STS:vm_state", "OS-EXT-STS:power_state"),
}
EXTENDED = {f"OS-EXT-SRV-ATTR:{name}" for name in ("host", "hypervisor_hostname", "instance_name")}
#: Version -> keys that administrators see from it on; those in the second set are for show only.
ADDED: dict[str, set[str]] = {
    "2.3": {
        f"OS-EXT-SRV-ATTR:{name}"
        for name in ("reservation_id", "launch_index", "hostname", "kernel_id", "ramdisk_id", "root_device_name", "user_data")
    },
    "2.9": {"locked"},
    "2.16": {"host_status"},
    "2.19": {"description"},
    "2.26": {"tags"},
    "2.63": {"trusted_image_certificates"},
    "2.73": {"locked_reason"},
    "2.96": {"pinned_availability_zone"},
    "2.100": {"scheduler_hints"},
}


def _number(version: str) -> int:
    return int(version.split(".")[1])


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.8", "2.9", "2.16", "2.25", "2.47", "2.63", "2.72", "2.90", "2.104", "2.1000"])
async def test_each_version_has_its_fields(cloud: conftest.Cloud, version: str) -> None:
    server = await cloud.add_server(1)
    expected = BASE | EXTENDED
    for first, keys in ADDED.items():
        if _number(version) >= _number(first):
            expected = expected | keys
    (listed,) = (await cloud.get("/v2.1/servers/detail", version)).json()["servers"]
    assert set(listed) == expected
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}", version)).json()["server"]
    assert set(shown) == (expected | {"server_groups"} if _number(version) >= 71 else expected)


@pytest.mark.parametrize(("version", "expected"), [("2.1", set()), ("2.89", set()), ("2.90", {"OS-EXT-SRV-ATTR:hostname"})])
async def test_members_see_nothing_of_the_host(cloud: conftest.Cloud, version: str, expected: set[str]) -> None:
    server = await cloud.add_server(1)
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}", version, token=conftest.READER)).json()["server"]
    assert {key for key in shown if key.startswith("OS-EXT-SRV-ATTR") or key == "host_status"} == expected
    assert "h1" not in str(shown)


async def test_the_host_id_is_the_same_for_a_project_and_differs_between_projects(cloud: conftest.Cloud) -> None:
    one, two, other = await cloud.add_server(1), await cloud.add_server(2), await cloud.add_server(3, project_id="p2")
    ids = [(await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]["hostId"] for server in (one, two, other)]
    assert ids[0] == ids[1] == hashlib.sha224(b"p1h1").hexdigest()
    assert ids[2] not in ("", ids[0])


async def test_the_flavor_is_a_link_and_from_2_47_on_embedded(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, memory_mib=2048, vcpus=4, root_gib=20)
    path = f"/v2.1/servers/{server.uuid}"
    assert (await cloud.get(path, "2.46")).json()["server"]["flavor"] == {
        "id": "c4-m2048-d20",
        "links": [{"rel": "bookmark", "href": "http://api.example:8774/flavors/c4-m2048-d20"}],
    }
    assert (await cloud.get(path, "2.47")).json()["server"]["flavor"] == {
        "vcpus": 4,
        "ram": 2048,
        "disk": 20,
        "ephemeral": 0,
        "swap": 0,
        "original_name": "c4-m2048-d20",
        "extra_specs": {},
    }


@pytest.mark.parametrize(
    ("vm_state", "task_state", "status", "has_progress"),
    [
        ("active", None, "ACTIVE", True),
        ("active", "migrating", "MIGRATING", True),
        ("paused", None, "PAUSED", False),
        ("paused", "migrating", "MIGRATING", True),
        ("stopped", None, "SHUTOFF", False),
        ("error", "migrating", "ERROR", False),
        ("suspended", None, "SUSPENDED", False),
    ],
)
async def test_the_status_is_made_of_both_states(
    cloud: conftest.Cloud, vm_state: str, task_state: str | None, status: str, has_progress: bool
) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState(vm_state))
    if task_state:
        await cloud.update(server.uuid, task_state=server_model.TaskState(task_state))
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    assert (shown["status"], "progress" in shown) == (status, has_progress)
    assert (shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:task_state"]) == (vm_state, task_state)
    found = (await cloud.get(f"/v2.1/servers?status={status.lower()}")).json()["servers"]
    assert [one["id"] for one in found] == [server.uuid]


async def test_an_error_shows_its_reason_as_the_fault(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState.ERROR, reason="two_hosts")
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    assert (shown["fault"]["code"], shown["fault"]["message"]) == (500, "two_hosts")


@pytest.mark.parametrize(
    ("change", "host_status"), [({}, "UP"), ({"is_disabled": True}, "MAINTENANCE"), ({"is_forced_down": True}, "DOWN")]
)
async def test_administrators_see_how_the_host_is(cloud: conftest.Cloud, change: dict[str, bool], host_status: str) -> None:
    server = await cloud.add_server(1)

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        await uow.hosts.update_service("h1", **change)  # type: ignore[arg-type]  # only switches

    await cloud.store.run(unit)
    assert (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]["host_status"] == host_status
    assert (await cloud.get("/v2.1/servers/detail")).json()["servers"][0]["host_status"] == host_status


async def test_lists_show_the_callers_project_and_administrators_all_if_asked(cloud: conftest.Cloud) -> None:
    mine, other = await cloud.add_server(1), await cloud.add_server(2, project_id="p2")

    async def listed(query: str, token: str) -> set[str]:
        answer = await cloud.get(f"/v2.1/servers{query}", token=token)
        assert answer.status_code == 200
        return {one["id"] for one in answer.json()["servers"]}

    assert await listed("", conftest.READER) == {mine.uuid}
    assert await listed("", conftest.ADMIN) == {mine.uuid}
    assert await listed("?all_tenants=True", conftest.ADMIN) == {mine.uuid, other.uuid}
    assert await listed("?all_tenants=1&project_id=p2", conftest.ADMIN) == {other.uuid}
    assert await listed("?all_tenants=0", conftest.ADMIN) == {mine.uuid}
    refused = await cloud.get("/v2.1/servers/detail?all_tenants=1", token=conftest.MANAGER)
    assert refused.status_code == 403
    assert "servers:detail:get_all_tenants" in refused.json()["forbidden"]["message"]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("host=h1", {1}),
        ("host=nowhere", set()),
        ("name=server-2", {2}),
        ("name=server", {1, 2, 3}),
        ("name=^server-[13]$", {1, 3}),
        ("name=(", None),
        ("status=ACTIVE", {1, 2}),
        ("status=ACTIVE&status=PAUSED", {1, 2, 3}),
        ("status=RESCUE", set()),
        ("status=nonsense", None),
        ("flavor=c1-m512-d0", {1, 3}),
        ("flavor=other", set()),
        ("image=11111111-1111-4111-8111-111111111111", set()),
        ("tags=blue", set()),
        ("deleted=False", {1, 2, 3}),
        ("uuid=11111111-1111-4111-8111-111111111113", {3}),
        ("locked=true", set()),
        ("node=h2.example", {2, 3}),
        ("host=h2&node=h1.example", set()),
        ("hostname=server-2", {2}),
        ("instance_name=server", set()),
        ("vm_state=paused", {3}),
        ("vm_state=nonsense", set()),
        ("task_state=migrating", set()),
        ("power_state=1", {1, 2, 3}),
        ("power_state=4", set()),
        ("power_state=x", set()),
        ("progress=0", {1, 2, 3}),
        ("progress=7", set()),
        (f"progress={2**70}", set()),
        ("locked_by=owner", set()),
        ("user_id=owner", {1, 2, 3}),
        ("user_id=somebody", set()),
        ("availability_zone=nova", {1, 2, 3}),
        ("availability_zone=elsewhere", set()),
        ("config_drive=False", {1, 2, 3}),
        ("config_drive=True", set()),
        ("description=x", set()),
        ("not-tags=blue", {1, 2, 3}),
        ("launch_index=1", set()),
        ("terminated_at=2000-01-01T00:00:00Z", set()),
        ("limit=0", set()),
        ("changes-since=2000-01-01T00:00:00Z", {1, 2, 3}),
        ("changes-since=2999-01-01T00:00:00Z", set()),
        ("changes-since=2999-01-01T00:00:00Z&changes-before=2000-01-01T00:00:00Z", None),
        ("sort_key=display_name&sort_dir=up", None),
        ("sort_key=nonsense", None),
        ("display_name=server-2", {2}),
        ("name=server-1&display_name=server-2", {1}),
        ("display_description=x", set()),
        ("created_at=2000-01-01T00:00:00Z", set()),
        ("marker=nothing", None),
        ("nonsense=1", None),
    ],
)
async def test_a_filter_shows_what_fits_or_is_refused(cloud: conftest.Cloud, query: str, numbers: set[int] | None) -> None:
    await cloud.add_server(1, "h1")
    await cloud.add_server(2, "h2", memory_mib=1024)
    await cloud.add_server(3, "h2", vm_state=server_model.VmState.PAUSED)
    answer = await cloud.get(f"/v2.1/servers/detail?{query}")
    if numbers is None:
        assert answer.status_code == 400
    else:
        assert {int(one["id"][-1]) for one in answer.json()["servers"]} == numbers


async def test_a_host_filter_of_a_member_is_dropped_without_a_word(cloud: conftest.Cloud) -> None:
    await cloud.add_server(1, "h1")
    assert len((await cloud.get("/v2.1/servers?host=h2", token=conftest.MEMBER)).json()["servers"]) == 1


@pytest.mark.parametrize(
    ("version", "query", "token", "count"),
    [
        ("2.82", "vm_state=paused", conftest.MEMBER, 1),
        ("2.83", "vm_state=paused", conftest.MEMBER, 0),
        ("2.82", "vm_state=paused", conftest.ADMIN, 0),
        ("2.82", "user_id=somebody", conftest.MEMBER, 1),
        ("2.83", "user_id=somebody", conftest.MEMBER, 0),
        ("2.104", "node=nowhere", conftest.MEMBER, 1),
        ("2.104", "node=nowhere", conftest.ADMIN, 0),
        ("2.1", "name=nobody", conftest.MEMBER, 0),
    ],
)
async def test_more_filters_are_everybodys_from_2_83_on(cloud: conftest.Cloud, version: str, query: str, token: str, count: int) -> None:
    """What a caller may not filter by is dropped without a word, as in Nova."""
    await cloud.add_server(1)
    assert len((await cloud.get(f"/v2.1/servers?{query}", version, token=token)).json()["servers"]) == count


async def test_deleted_servers_are_listed_for_administrators_who_ask(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await cloud.update(server.uuid, vm_state=server_model.VmState.DELETED, deleted_at=server.created_at)
    assert (await cloud.get("/v2.1/servers")).json()["servers"] == []
    (shown,) = (await cloud.get("/v2.1/servers/detail?deleted=True")).json()["servers"]
    assert shown["status"] == "DELETED"
    assert (await cloud.get("/v2.1/servers?deleted=True", token=conftest.READER)).json()["servers"] == []
    assert (await cloud.get(f"/v2.1/servers/{server.uuid}")).status_code == 404


async def test_pages_follow_their_links_through_every_server_once(cloud: conftest.Cloud) -> None:
    for number in range(5):
        await cloud.add_server(number)
    path: str | None = "/v2.1/servers/detail?limit=2&name=server"
    seen: list[str] = []
    while path is not None:
        content = (await cloud.get(path)).json()
        seen += [one["name"] for one in content["servers"]]
        links = content.get("servers_links", [])
        assert all(link["rel"] == "next" and "name=server" in link["href"] for link in links)
        path = links[0]["href"] if links else None
    assert seen == [f"server-{number}" for number in (4, 3, 2, 1, 0)]


async def test_a_list_is_sorted_by_several_keys(cloud: conftest.Cloud) -> None:
    for number, host in ((1, "h2"), (2, "h1"), (3, "h2")):
        await cloud.add_server(number, host)
    content = (await cloud.get("/v2.1/servers?sort_key=host&sort_dir=asc&sort_key=display_name&sort_dir=desc")).json()
    assert [one["name"] for one in content["servers"]] == ["server-2", "server-3", "server-1"]


async def test_where_servers_run_is_not_told_by_sorting(cloud: conftest.Cloud) -> None:
    """Who may not filter by hosts learns nothing of them by the order of a list either."""
    await cloud.add_server(1)
    for key in ("host", "node"):
        answer = await cloud.get(f"/v2.1/servers?sort_key=uuid&sort_key={key}", token=conftest.MANAGER)
        assert answer.status_code == 403
        assert answer.json()["forbidden"]["message"].startswith(f"Only administrators can sort servers by {key}.")


async def test_a_sort_key_that_there_is_not_names_those_that_there_are(cloud: conftest.Cloud) -> None:
    message = (await cloud.get("/v2.1/servers?sort_key=hostname")).json()["badRequest"]["message"]
    assert {"display_name", "terminated_at", "memory_mb", "created_at"} <= set(message.rpartition(": ")[2].rstrip(".").split(", "))
    assert "mib" not in message


async def test_the_page_is_never_longer_than_max_limit(cloud: conftest.Cloud) -> None:
    most = cloud.api.parts.config.api.max_limit
    answer = await cloud.get(f"/v2.1/servers?limit={most + 1}")
    assert answer.status_code == 200


async def test_times_and_links_are_written_as_nova_does(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await cloud.update(server.uuid, launched_at=server.created_at)
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    assert shown["created"] == server.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shown["OS-SRV-USG:launched_at"] == server.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f")
    assert shown["links"] == [
        {"rel": "self", "href": f"http://api.example:8774/v2.1/servers/{server.uuid}"},
        {"rel": "bookmark", "href": f"http://api.example:8774/servers/{server.uuid}"},
    ]
