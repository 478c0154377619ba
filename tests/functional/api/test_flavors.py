# SPDX-License-Identifier: Apache-2.0
"""Flavors over HTTP: those that are made, those that tell the sizes of guests, extra specs, and who may what."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import flavor as flavor_model
from wherry.model import server as server_model

NEW: dict[str, Any] = {"name": "small", "ram": 512, "vcpus": 2, "disk": 3}
DEFAULTS = ["1", "2", "3", "4", "5"]


async def _create(cloud: conftest.Cloud, flavor: Any, version: str = "2.104") -> httpx.Response:
    return await cloud.request("POST", "/v2.1/flavors", version, json={"flavor": flavor})


async def _ids(cloud: conftest.Cloud, query: str = "", token: str = conftest.ADMIN) -> list[str]:
    return [one["id"] for one in (await cloud.get(f"/v2.1/flavors{query}", token=token)).json()["flavors"]]


async def _three_sizes(cloud: conftest.Cloud) -> None:
    """Have servers of three sizes, and no other flavor."""
    for flavor_id in DEFAULTS:
        assert (await cloud.request("DELETE", f"/v2.1/flavors/{flavor_id}")).status_code == 202
    await cloud.add_server(1, memory_mib=512, vcpus=1)
    await cloud.add_server(2, memory_mib=512, vcpus=1)
    await cloud.add_server(3, memory_mib=2048, vcpus=4, root_gib=20)
    await cloud.add_server(4, memory_mib=1024, vcpus=2, project_id="p2")


async def test_a_few_flavors_are_there_from_the_beginning(cloud: conftest.Cloud) -> None:
    rows = (await cloud.get("/v2.1/flavors/detail", token=conftest.READER)).json()["flavors"]
    assert [(row["id"], row["name"], row["ram"], row["vcpus"], row["disk"]) for row in rows] == [
        ("1", "m1.tiny", 512, 1, 1),
        ("2", "m1.small", 2048, 1, 20),
        ("3", "m1.medium", 4096, 2, 40),
        ("4", "m1.large", 8192, 4, 80),
        ("5", "m1.xlarge", 16384, 8, 160),
    ]


@pytest.mark.parametrize(
    ("version", "flavor", "code"),
    [
        ("2.1", NEW, 200),
        ("2.1", {**NEW, "ram": "512", "vcpus": "2", "disk": "0", "swap": "7", "OS-FLV-EXT-DATA:ephemeral": 5}, 200),
        ("2.1", {**NEW, "id": "a b.c-d_e"}, 200),
        ("2.1", {**NEW, "id": 77}, 200),
        ("2.1", {**NEW, "id": None, "rxtx_factor": "1.5"}, 200),
        ("2.1", {**NEW, "id": " 7"}, 400),
        ("2.1", {**NEW, "id": "a/b"}, 400),
        ("2.1", {**NEW, "id": "c1-m512-d0"}, 400),
        ("2.1", {**NEW, "name": ""}, 400),
        ("2.1", {**NEW, "ram": 0}, 400),
        ("2.1", {**NEW, "ram": "0"}, 400),
        ("2.1", {**NEW, "ram": 2**31}, 400),
        ("2.1", {**NEW, "vcpus": 0}, 400),
        ("2.1", {**NEW, "disk": -1}, 400),
        ("2.1", {**NEW, "rxtx_factor": 0}, 400),
        ("2.1", {**NEW, "rxtx_factor": "0.0"}, 400),
        ("2.1", {**NEW, "description": "words"}, 400),
        ("2.55", {**NEW, "description": "words"}, 200),
        ("2.55", {**NEW, "description": None}, 200),
        ("2.1", {**NEW, "other": 1}, 400),
        ("2.1", {"name": "small"}, 400),
        ("2.1", None, 400),
    ],
)
async def test_a_body_is_judged_by_its_version(cloud: conftest.Cloud, version: str, flavor: Any, code: int) -> None:
    answer = await _create(cloud, flavor, version)
    assert answer.status_code == code, answer.text


async def test_not_a_number_is_no_json(cloud: conftest.Cloud) -> None:
    body = '{"flavor": {"name": "small", "ram": 512, "vcpus": 1, "disk": 0, "rxtx_factor": NaN}}'
    answer = await cloud.request("POST", "/v2.1/flavors", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_what_is_made_is_shown_with_the_fields_of_the_version(cloud: conftest.Cloud) -> None:
    sent = {**NEW, "id": "9", "swap": 64, "OS-FLV-EXT-DATA:ephemeral": 5, "rxtx_factor": 2, "description": "words"}
    made = (await _create(cloud, sent)).json()["flavor"]
    assert made == (await cloud.get("/v2.1/flavors/9", token=conftest.READER)).json()["flavor"]
    assert made["extra_specs"] == {}
    row = (await cloud.get("/v2.1/flavors/9", "2.1")).json()["flavor"]
    assert {key: value for key, value in row.items() if key != "links"} == {
        "id": "9",
        "name": "small",
        "ram": 512,
        "vcpus": 2,
        "disk": 3,
        "swap": 64,
        "rxtx_factor": 2.0,
        "OS-FLV-EXT-DATA:ephemeral": 5,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
    }
    assert (await cloud.get("/v2.1/flavors/9", "2.55")).json()["flavor"]["description"] == "words"


@pytest.mark.parametrize("second", [{**NEW, "id": "9"}, {**NEW, "name": "other", "id": "9"}, NEW])
async def test_a_taken_id_or_name_is_a_conflict(cloud: conftest.Cloud, second: dict[str, Any]) -> None:
    assert (await _create(cloud, {**NEW, "id": "9"})).status_code == 200
    assert (await _create(cloud, second)).status_code == 409


async def test_a_description_is_changed_from_2_55_on(cloud: conftest.Cloud) -> None:
    body = {"flavor": {"description": "other words"}}
    assert (await cloud.request("PUT", "/v2.1/flavors/1", "2.54", json=body)).status_code == 404
    assert (await cloud.request("PUT", "/v2.1/flavors/1", json=body)).json()["flavor"]["description"] == "other words"
    assert (await cloud.get("/v2.1/flavors/1")).json()["flavor"]["description"] == "other words"
    assert (await cloud.request("PUT", "/v2.1/flavors/77", json=body)).status_code == 404


async def test_a_flavor_is_deleted_once(cloud: conftest.Cloud) -> None:
    assert (await cloud.request("DELETE", "/v2.1/flavors/3")).status_code == 202
    assert (await cloud.request("DELETE", "/v2.1/flavors/3")).status_code == 404
    assert await _ids(cloud) == ["1", "2", "4", "5"]


async def test_a_flavor_that_is_not_public_is_the_administrators(cloud: conftest.Cloud) -> None:
    assert (await _create(cloud, {**NEW, "id": "9", "os-flavor-access:is_public": False})).status_code == 200
    assert (await cloud.get("/v2.1/flavors/9", token=conftest.READER)).status_code == 404
    assert (await cloud.get("/v2.1/flavors/9/os-extra_specs", token=conftest.READER)).status_code == 404
    assert (await cloud.get("/v2.1/flavors/9")).status_code == 200
    assert await _ids(cloud) == DEFAULTS
    assert await _ids(cloud, "?is_public=None") == [*DEFAULTS, "9"]
    assert await _ids(cloud, "?is_public=false") == ["9"]
    assert await _ids(cloud, "?is_public=None", conftest.READER) == DEFAULTS


async def test_extra_specs_are_added_set_and_deleted(cloud: conftest.Cloud) -> None:
    path = "/v2.1/flavors/1/os-extra_specs"
    body = {"extra_specs": {"hw:a": "1", "b": 2}}
    assert (await cloud.request("POST", path, json=body)).json() == {"extra_specs": {"hw:a": "1", "b": "2"}}
    assert (await cloud.request("POST", path, json={"extra_specs": {"c": "3"}})).json() == {"extra_specs": {"c": "3"}}
    assert (await cloud.request("PUT", f"{path}/b", json={"b": "22"})).json() == {"b": "22"}
    assert (await cloud.request("PUT", f"{path}/b", json={"c": "22"})).status_code == 400
    assert (await cloud.get(f"{path}/b", token=conftest.READER)).json() == {"b": "22"}
    assert (await cloud.request("DELETE", f"{path}/c")).status_code == 200
    assert (await cloud.request("DELETE", f"{path}/c")).status_code == 404
    assert (await cloud.get(f"{path}/c")).status_code == 404
    known = {"hw:a": "1", "b": "22"}
    assert (await cloud.get(path, token=conftest.READER)).json() == {"extra_specs": known}
    assert (await cloud.get("/v2.1/flavors/1", "2.61")).json()["flavor"]["extra_specs"] == known


@pytest.mark.parametrize("specs", [{"a/b": "1"}, {"a": True}, {"a": "x" * 256}, {"": "1"}, None])
async def test_extra_specs_that_are_refused(cloud: conftest.Cloud, specs: Any) -> None:
    assert (await cloud.request("POST", "/v2.1/flavors/1/os-extra_specs", json={"extra_specs": specs})).status_code == 400


async def _with_flavor(cloud: conftest.Cloud, server: server_model.Server, flavor_id: str) -> None:
    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        flavor = await uow.flavors.get(flavor_id)
        await uow.servers.update(server, flavor=flavor)

    await cloud.store.run(unit)


async def test_a_server_keeps_its_copy_of_a_flavor(cloud: conftest.Cloud) -> None:
    await _create(cloud, {**NEW, "id": "9"})
    await cloud.request("POST", "/v2.1/flavors/9/os-extra_specs", json={"extra_specs": {"hw:a": "1"}})
    server = await cloud.add_server(1, memory_mib=512, vcpus=2, root_gib=3)
    await cloud.add_server(2, memory_mib=512, vcpus=2, root_gib=3)
    await _with_flavor(cloud, server, "9")
    assert (await cloud.request("DELETE", "/v2.1/flavors/9")).status_code == 202
    path = f"/v2.1/servers/{server.uuid}"
    assert (await cloud.get(path, "2.46")).json()["server"]["flavor"]["id"] == "9"
    assert (await cloud.get(path, token=conftest.READER)).json()["server"]["flavor"] == {
        "vcpus": 2,
        "ram": 512,
        "disk": 3,
        "ephemeral": 0,
        "swap": 0,
        "original_name": "small",
        "extra_specs": {"hw:a": "1"},
    }
    listed = (await cloud.get("/v2.1/servers?flavor=9")).json()["servers"]
    assert [one["id"] for one in listed] == [server.uuid]
    told = flavor_model.of_size(vcpus=2, memory_mib=512, root_gib=3).id
    listed = (await cloud.get(f"/v2.1/servers?flavor={told}")).json()["servers"]
    assert [one["id"] for one in listed] == [conftest.UUID.format(2)]


@pytest.mark.parametrize(
    ("query", "token", "ids"),
    [
        ("", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("", conftest.ADMIN, ["c1-m512-d0", "c2-m1024-d0", "c4-m2048-d20"]),
        ("is_public=None", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("is_public=true", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("is_public=false", conftest.READER, ["c1-m512-d0", "c4-m2048-d20"]),
        ("is_public=false", conftest.ADMIN, []),
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


@pytest.mark.parametrize(
    "query",
    ["minRam=x", f"minRam={'9' * 5000}", "minDisk=-1", "marker=nothing", "sort_key=colour", "sort_dir=up", "limit=-1", "nonsense=1"],
)
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


@pytest.mark.parametrize("named", ["m1.tiny", "c1-m512", "c-1-m512-d0", "7", "x%00y", "%C3%A4"])
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
