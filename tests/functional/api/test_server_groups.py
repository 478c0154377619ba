# SPDX-License-Identifier: Apache-2.0
"""Server groups over HTTP: fields and bodies of each version, who may what, and who is in them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import server_group

PATH = "/v2.1/os-server-groups"
HARD = {"name": "web", "policies": ["anti-affinity"]}
NEW = {"name": "web", "policy": "anti-affinity"}


async def _create(cloud: conftest.Cloud, group: Any, version: str = "2.104", *, token: str = conftest.MEMBER) -> httpx.Response:
    return await cloud.request("POST", PATH, version, token=token, json={"server_group": group})


async def _act(cloud: conftest.Cloud, group: str, action: str, server: str, *, token: str = conftest.MEMBER) -> httpx.Response:
    return await cloud.request("POST", f"{PATH}/{group}/action", "2.1000", token=token, json={action: {"server": server}})


async def _neighbours(cloud: conftest.Cloud, uuid: str) -> server_group.Neighbours | None:
    async def unit(uow: wherry_uow.UnitOfWork) -> server_group.Neighbours | None:
        return await uow.server_groups.neighbours_of(uuid)

    return await cloud.store.read(unit)


@pytest.mark.parametrize(
    ("version", "group", "code"),
    [
        ("2.1", HARD, 200),
        ("2.1", {"name": "web", "policies": ["affinity"]}, 200),
        ("2.14", {"name": "web", "policies": ["soft-affinity"]}, 400),
        ("2.15", {"name": "web", "policies": ["soft-affinity"]}, 200),
        ("2.15", {"name": "web", "policies": ["affinity", "anti-affinity"]}, 400),
        ("2.15", {"name": "web", "policies": []}, 400),
        ("2.63", NEW, 400),
        ("2.64", HARD, 400),
        ("2.64", NEW, 200),
        ("2.64", {**NEW, "rules": {"max_server_per_host": 3}}, 200),
        ("2.64", {**NEW, "rules": {"max_server_per_host": "3"}}, 200),
        ("2.64", {**NEW, "rules": {"max_server_per_host": 0}}, 400),
        ("2.64", {**NEW, "rules": {"max_server_per_host": "0"}}, 400),
        ("2.64", {**NEW, "rules": {"other": 1}}, 400),
        ("2.64", {"name": "web", "policy": "affinity", "rules": {"max_server_per_host": 3}}, 400),
        ("2.64", {"name": "", "policy": "affinity"}, 400),
        ("2.64", {"name": " web", "policy": "affinity"}, 400),
        ("2.64", {"name": "web\u0000", "policy": "affinity"}, 400),
        ("2.64", {"name": "x" * 256, "policy": "affinity"}, 400),
        ("2.64", {"name": "web"}, 400),
        ("2.64", None, 400),
    ],
)
async def test_bodies_by_version(cloud: conftest.Cloud, version: str, group: Any, code: int) -> None:
    answer = await _create(cloud, group, version)
    assert answer.status_code == code
    listed = (await cloud.get(PATH, version, token=conftest.READER)).json()["server_groups"]
    assert listed == ([answer.json()["server_group"]] if code == 200 else [])


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.12", {"id", "name", "policies", "members", "metadata"}),
        ("2.13", {"id", "name", "policies", "members", "metadata", "project_id", "user_id"}),
        ("2.64", {"id", "name", "policy", "rules", "members", "project_id", "user_id"}),
    ],
)
async def test_fields_by_version(cloud: conftest.Cloud, version: str, expected: set[str]) -> None:
    made = (await _create(cloud, NEW)).json()["server_group"]
    assert (made["policy"], made["rules"], made["project_id"], made["user_id"]) == ("anti-affinity", {}, "p1", "mel")
    shown = (await cloud.get(f"{PATH}/{made['id']}", version)).json()["server_group"]
    assert set(shown) == expected


async def test_the_limit_of_a_host_is_a_rule(cloud: conftest.Cloud) -> None:
    made = (await _create(cloud, {**NEW, "rules": {"max_server_per_host": 3}})).json()["server_group"]
    assert made["rules"] == {"max_server_per_host": 3}


async def test_lists_are_of_the_project_and_come_in_pages(cloud: conftest.Cloud) -> None:
    for name, token in (("a", conftest.MEMBER), ("b", conftest.MEMBER), ("c", conftest.FOREIGN_MANAGER)):
        assert (await _create(cloud, {**NEW, "name": name}, token=token)).status_code == 200

    async def names(query: str = "", token: str = conftest.ADMIN) -> list[str]:
        return [one["name"] for one in (await cloud.get(f"{PATH}?{query}", token=token)).json()["server_groups"]]

    assert await names() == ["a", "b"]
    assert await names("all_projects=True") == ["a", "b", "c"]
    assert await names("all_projects=True", conftest.MANAGER) == ["a", "b"]
    assert await names("limit=1&offset=1&all_projects=1") == ["b"]
    assert (await cloud.get(f"{PATH}?nonsense=1", "2.75")).status_code == 400


async def test_who_sees_and_deletes_a_group(cloud: conftest.Cloud) -> None:
    path = f"{PATH}/{(await _create(cloud, NEW)).json()['server_group']['id']}"
    assert (await _create(cloud, NEW, token=conftest.READER)).status_code == 403
    assert (await cloud.get(path, token=conftest.READER)).status_code == 200
    assert (await cloud.get(path, token=conftest.FOREIGN_MANAGER)).status_code == 404
    assert (await cloud.request("DELETE", path, token=conftest.FOREIGN_MANAGER)).status_code == 404
    assert (await cloud.request("DELETE", path, token=conftest.READER)).status_code == 403
    assert (await cloud.request("DELETE", path, token=conftest.MEMBER)).status_code == 204
    assert (await cloud.get(path)).status_code == 404
    assert (await cloud.get(f"{PATH}/nothing")).status_code == 404


async def test_servers_join_and_leave_at_2_1000(cloud: conftest.Cloud) -> None:
    one, two = await cloud.add_server(1, "h1"), await cloud.add_server(2, "h2")
    group = (await _create(cloud, NEW)).json()["server_group"]["id"]
    for server in (one, two, one):
        answer = await _act(cloud, group, "add_server", server.uuid)
        assert answer.status_code == 200
    assert answer.json()["server_group"]["members"] == [one.uuid, two.uuid]
    assert (await cloud.get(f"/v2.1/servers/{one.uuid}")).json()["server"]["server_groups"] == [group]
    absolute = (await cloud.get("/v2.1/limits", token=conftest.READER)).json()["limits"]["absolute"]
    assert absolute["totalServerGroupsUsed"] == 1
    for _ in range(2):
        answer = await _act(cloud, group, "remove_server", one.uuid)
        assert (answer.status_code, answer.json()["server_group"]["members"]) == (200, [two.uuid])
    assert (await cloud.get(f"/v2.1/servers/{one.uuid}")).json()["server"]["server_groups"] == []
    refused = await cloud.request("POST", f"{PATH}/{group}/action", "2.104", json={"add_server": {"server": one.uuid}})
    assert refused.status_code == 404


async def test_a_server_is_in_one_group_at_most(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    first, second = [(await _create(cloud, NEW)).json()["server_group"]["id"] for _ in range(2)]
    assert (await _act(cloud, first, "add_server", server.uuid)).status_code == 200
    refused = await _act(cloud, second, "add_server", server.uuid)
    assert refused.status_code == 409
    assert f"is in server group {first} already" in refused.json()["conflictingRequest"]["message"]
    assert (await cloud.request("DELETE", f"{PATH}/{first}")).status_code == 204
    assert (await _act(cloud, second, "add_server", server.uuid)).status_code == 200


async def test_servers_that_cannot_join(cloud: conftest.Cloud) -> None:
    foreign = await cloud.add_server(1, project_id="p2")
    group = (await _create(cloud, NEW)).json()["server_group"]["id"]
    for named in (foreign.uuid, conftest.UUID.format(9), "nothing"):
        assert (await _act(cloud, group, "add_server", named)).status_code == 400
    mine = await cloud.add_server(2)
    assert (await _act(cloud, group, "add_server", mine.uuid, token=conftest.READER)).status_code == 403
    assert (await _act(cloud, group, "add_server", mine.uuid, token=conftest.FOREIGN_MANAGER)).status_code == 404
    assert (await cloud.get(f"{PATH}/{group}")).json()["server_group"]["members"] == []


async def test_neighbours_are_where_they_are_and_where_they_are_going(cloud: conftest.Cloud) -> None:
    one, two, three = [await cloud.add_server(number, host) for number, host in ((1, "h1"), (2, "h2"), (3, "h2"))]
    assert await _neighbours(cloud, one.uuid) is None
    group = (await _create(cloud, NEW)).json()["server_group"]["id"]
    for server in (one, two, three):
        await _act(cloud, group, "add_server", server.uuid)
    await cloud.migrate(two.uuid)
    found, _ = await cloud.open_operation(two.uuid)
    await cloud.advance(found.id, dest_compute="h3")
    neighbours = await _neighbours(cloud, one.uuid)
    assert neighbours is not None
    assert (neighbours.group, dict(neighbours.on_hosts)) == (group, {"h2": 2, "h3": 1})
