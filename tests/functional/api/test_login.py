# SPDX-License-Identifier: Apache-2.0
"""The identity routes that noauth answers, so that clients which insist on a Keystone find one."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from tests.functional.api import conftest

BASE = "http://api.example:8774"


def password(user: str, scope: Any = None) -> dict[str, Any]:
    """A request for a token, as clients send it."""
    named = {"name": user, "domain": {"name": "Default"}, "password": "any"}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": named}}}
    return {"auth": auth if scope is None else {**auth, "scope": scope}}


def project(name: str) -> dict[str, Any]:
    return {"project": {"name": name, "domain": {"name": "Default"}}}


@pytest.mark.parametrize("path", ["/v3", "/v3/"])
async def test_the_version_document_needs_no_token(cloud: conftest.Cloud, path: str) -> None:
    answer = await cloud.http.get(path)
    assert answer.status_code == 200
    version = answer.json()["version"]
    assert (version["id"], version["status"]) == ("v3.14", "stable")
    assert version["links"] == [{"rel": "self", "href": f"{BASE}/v3/"}]
    assert "openstack-api-version" not in answer.headers


@pytest.mark.parametrize(
    ("user", "scope", "who", "roles"),
    [
        ("admin", None, ("admin", "admin"), ["admin", "manager", "member", "reader"]),
        ("mel", project("p1"), ("mel", "p1"), ["member", "reader"]),
        ("manager", {"project": {"id": "p1"}}, ("manager", "p1"), ["manager", "member", "reader"]),
        ("rita:reader", project("p1"), ("rita", "p1"), ["reader"]),
        ("olga:operator,admin", project("p2"), ("olga", "p2"), ["admin", "manager", "member", "operator", "reader"]),
    ],
)
async def test_who_logs_in_gets_a_token_that_is_believed(
    cloud: conftest.Cloud, user: str, scope: Any, who: tuple[str, str], roles: list[str]
) -> None:
    answer = await cloud.http.post("/v3/auth/tokens", json=password(user, scope))
    assert answer.status_code == 201
    token = answer.json()["token"]
    assert (token["user"]["id"], token["project"]["id"]) == who
    assert [role["name"] for role in token["roles"]] == roles
    assert token["issued_at"] < token["expires_at"]
    held = answer.headers["x-subject-token"]
    # The services list is the administrator's.
    expected = 200 if "admin" in roles else 403
    assert (await cloud.get("/v2.1/os-services", token=held)).status_code == expected
    assert (await cloud.get(f"/v2.1/{who[1]}/servers", token=held)).status_code == 200
    assert (await cloud.get("/v2.1/elsewhere/servers", token=held)).status_code == 400


async def test_the_catalog_leads_back_to_where_the_client_came_in(cloud: conftest.Cloud) -> None:
    answer = await cloud.http.post("/v3/auth/tokens", json=password("admin"))
    found = {
        (service["type"], endpoint["interface"], endpoint["region_id"], endpoint["url"])
        for service in answer.json()["token"]["catalog"]
        for endpoint in service["endpoints"]
    }
    assert {(kind, "public", "RegionOne", f"{BASE}{path}") for kind, path in (("identity", "/v3"), ("compute", "/v2.1"))} <= found


async def test_a_token_may_be_looked_at_exchanged_and_given_back(cloud: conftest.Cloud) -> None:
    held = {"X-Auth-Token": "maria:p1:manager", "X-Subject-Token": "maria:p1:manager"}
    shown = await cloud.http.get("/v3/auth/tokens", headers=held)
    assert (shown.status_code, shown.json()["token"]["project"]["id"]) == (200, "p1")
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": held["X-Auth-Token"]}}, "scope": project("p2")}}
    exchanged = await cloud.http.post("/v3/auth/tokens", json=body)
    assert exchanged.headers["x-subject-token"] == "maria:p2:manager"
    assert (await cloud.http.delete("/v3/auth/tokens", headers=held)).status_code == 204


@pytest.mark.parametrize(("kind", "one"), [("projects", "project"), ("users", "user")])
async def test_names_are_their_own_ids(cloud: conftest.Cloud, kind: str, one: str) -> None:
    assert (await cloud.http.get(f"/v3/{kind}/p9")).json()[one]["id"] == "p9"
    listed = (await cloud.http.get(f"/v3/{kind}", params={"name": "p9"})).json()[kind]
    assert [(found["id"], found["name"]) for found in listed] == [("p9", "p9")]


async def test_images_are_looked_up(cloud: conftest.Cloud, tmp_path: pathlib.Path) -> None:
    assert (await cloud.http.get("/image")).json()["versions"][0]["links"] == [{"rel": "self", "href": f"{BASE}/image/v2/"}]
    assert (await cloud.http.get("/image/v2/images")).json()["images"] == []
    conftest.add_image(cloud, tmp_path / "image.raw")
    one = (await cloud.http.get(f"/image/v2/images/{conftest.IMAGE}")).json()
    assert (one["name"], one["status"], one["os"], one["disk_format"]) == ("tiny", "active", "none", "raw")
    for query, found in (("", [one]), ("?name=tiny", [one]), ("?name=other", []), (f"?id=in:x,{conftest.IMAGE}", [one]), ("?id=in:x", [])):
        assert (await cloud.http.get(f"/image/v2/images{query}")).json()["images"] == found
    assert (await cloud.http.get("/image/v2/images/tiny")).status_code == 404
    assert (await cloud.http.get("/image/v2/tasks")).status_code == 404
    assert (await cloud.http.post("/image/v2/images", json={})).status_code == 405


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "must be an object"),
        ({"auth": {}}, "Identity must be an object"),
        ({"auth": {"identity": {"methods": ["oauth1"]}}}, "one of password, token, application_credential"),
        ({"auth": {"identity": {"methods": ["password"], "password": {"user": {}}}}}, "needs an id or a name"),
        (password("admin", {"system": {"all": True}}), "scope project only"),
        (password("a b"), "without blanks"),
        (password("admin", project("p:1")), "without blanks, colons"),
    ],
)
async def test_a_request_for_a_token_that_makes_no_sense_is_told_what_to_send(cloud: conftest.Cloud, content: Any, says: str) -> None:
    answer = await cloud.http.post("/v3/auth/tokens", json=content)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["title"]) == (400, "Bad Request")
    assert says in error["message"]


async def test_a_body_that_is_no_json_or_too_large_is_refused(cloud: conftest.Cloud) -> None:
    assert (await cloud.http.post("/v3/auth/tokens", content=b"{")).status_code == 400
    assert (await cloud.http.post("/v3/auth/tokens", content=b"[" * 20000)).status_code == 413


async def test_what_noauth_does_not_answer_is_a_404_that_says_what_it_does(cloud: conftest.Cloud) -> None:
    answer = await cloud.http.get("/v3/groups")
    assert answer.status_code == 404
    assert "POST /v3/auth/tokens" in answer.json()["error"]["message"]


async def test_a_401_has_keystonemiddlewares_form_and_says_where_to_log_in(cloud: conftest.Cloud) -> None:
    answer = await cloud.get("/v2.1/servers", token="a b:p1")
    assert answer.status_code == 401
    assert answer.json() == {
        "error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}
    }
    assert answer.headers["www-authenticate"] == f'Keystone uri="{BASE}/v3"'
    assert answer.headers["x-openstack-request-id"].startswith("req-")
