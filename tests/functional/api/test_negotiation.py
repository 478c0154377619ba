# SPDX-License-Identifier: Apache-2.0
"""Discovery, versions, headers and request ids, over HTTP."""

from __future__ import annotations

import re

import pytest

from tests.functional.api import conftest

REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


async def test_discovery_needs_no_token_and_offers_both_apis(cloud: conftest.Cloud) -> None:
    answer = await cloud.http.get("/")
    assert answer.status_code == 200
    legacy, current = answer.json()["versions"]
    assert (legacy["id"], legacy["status"], legacy["version"], legacy["min_version"]) == ("v2.0", "DEPRECATED", "", "")
    assert (current["id"], current["status"], current["version"], current["min_version"]) == ("v2.1", "CURRENT", "2.1000", "2.1")
    assert current["updated"] == "2013-07-23T11:33:21Z"
    assert current["links"] == [{"rel": "self", "href": "http://api.example:8774/v2.1/"}]


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/"])
async def test_the_version_document_is_what_clients_negotiate_by(cloud: conftest.Cloud, path: str) -> None:
    answer = await cloud.http.get(path)
    version = answer.json()["version"]
    assert (version["id"], version["version"], version["min_version"]) == ("v2.1", "2.1000", "2.1")
    assert [link["rel"] for link in version["links"]] == ["self", "describedby"]
    assert version["media-types"] == [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]
    assert answer.headers["openstack-api-version"] == "compute 2.1"


async def test_the_root_ignores_version_headers_and_the_version_document_honours_them(cloud: conftest.Cloud) -> None:
    assert (await cloud.get("/", "9.9")).status_code == 200
    assert (await cloud.get("/v2.1/", "9.9")).status_code == 406


async def test_any_other_path_offers_choices(cloud: conftest.Cloud) -> None:
    answer = await cloud.http.get("/servers/detail")
    assert answer.status_code == 300
    assert [choice["links"][0]["href"] for choice in answer.json()["choices"]] == [
        "http://api.example:8774/v2/servers/detail",
        "http://api.example:8774/v2.1/servers/detail",
    ]


@pytest.mark.parametrize(
    ("headers", "applied"),
    [
        ({}, "2.1"),
        ({"X-OpenStack-Nova-API-Version": "2.3"}, "2.3"),
        ({"OpenStack-API-Version": "compute 2.34"}, "2.34"),
        ({"OpenStack-API-Version": "volume 3.1, compute 2.34", "X-OpenStack-Nova-API-Version": "2.3"}, "2.34"),
        ({"OpenStack-API-Version": "volume 3.1", "X-OpenStack-Nova-API-Version": "2.3"}, "2.3"),
        ({"OpenStack-API-Version": "compute latest"}, "2.1000"),
        ({"X-OpenStack-Nova-API-Version": "latest"}, "2.1000"),
        ({"OpenStack-API-Version": "compute 2.500"}, "2.104"),
    ],
)
async def test_the_answer_says_which_version_was_applied(cloud: conftest.Cloud, headers: dict[str, str], applied: str) -> None:
    answer = await cloud.http.get("/v2.1/servers", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["openstack-api-version"] == f"compute {applied}"
    assert answer.headers["x-openstack-nova-api-version"] == applied
    assert answer.headers.get_list("vary") == ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version"]


async def test_errors_carry_the_version_too(cloud: conftest.Cloud) -> None:
    answer = await cloud.get(f"/v2.1/servers/{conftest.UUID.format(9)}", "2.34")
    assert (answer.status_code, answer.headers["openstack-api-version"]) == (404, "compute 2.34")


@pytest.mark.parametrize("version", ["2.0", "2.1001", "3.1"])
async def test_a_version_that_is_not_served_is_a_406(cloud: conftest.Cloud, version: str) -> None:
    answer = await cloud.get("/v2.1/servers", version)
    assert answer.status_code == 406
    text = f"Version {version} is not supported by the API. Minimum is 2.1 and maximum is 2.1000."
    assert answer.json() == {"computeFault": {"code": 406, "message": text}}


async def test_a_malformed_version_is_a_400_without_version_headers(cloud: conftest.Cloud) -> None:
    answer = await cloud.get("/v2.1/servers", "two")
    assert answer.status_code == 400
    text = "API Version String two is of invalid format. Must be of format MajorNum.MinorNum."
    assert answer.json() == {"badRequest": {"code": 400, "message": text}}
    assert "openstack-api-version" not in answer.headers


async def test_a_method_of_a_later_version_is_a_404(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.get(f"/v2.1/servers/{server.uuid}/migrations", "2.22")
    assert answer.status_code == 404
    message = "The resource could not be found. GET /servers/{server_id}/migrations is there from microversion 2.23 on."
    assert answer.json() == {"itemNotFound": {"code": 404, "message": message}}
    assert (await cloud.get(f"/v2.1/servers/{server.uuid}/migrations", "2.23")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v2.1", "/nowhere", "/v2.1/servers", "/v2.1/nowhere", "/v2.1/servers/x"])
async def test_every_answer_carries_one_request_id_twice_and_each_its_own(cloud: conftest.Cloud, path: str) -> None:
    seen = set()
    for _ in range(2):
        answer = await cloud.get(path)
        request_id = answer.headers["x-openstack-request-id"]
        assert REQUEST_ID.fullmatch(request_id)
        assert answer.headers["x-compute-request-id"] == request_id
        seen.add(request_id)
    assert len(seen) == 2


async def test_a_request_id_from_outside_is_not_taken_over(cloud: conftest.Cloud) -> None:
    wanted = "req-00000000-0000-4000-8000-000000000000"
    answer = await cloud.get("/v2.1/servers", headers={"X-OpenStack-Request-ID": wanted})
    assert answer.headers["x-openstack-request-id"] != wanted


async def test_the_project_may_stand_in_the_path_if_it_is_the_callers(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.get(f"/v2.1/{conftest.PROJECT}/servers")
    assert answer.status_code == 200
    assert answer.json()["servers"][0]["links"][0]["href"] == f"http://api.example:8774/v2.1/p1/servers/{server.uuid}"
    wrong = await cloud.get("/v2.1/p2/servers")
    assert wrong.status_code == 400
    assert wrong.json()["badRequest"]["message"] == ("Malformed request URL: URL's project_id 'p2' doesn't match Context's project_id 'p1'")
    assert (await cloud.get("/v2.1/p1")).status_code == 404


async def test_the_legacy_api_has_no_versions_and_tolerates_unknown_keys(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.get(f"/v2/servers/{server.uuid}", "2.90")
    assert answer.status_code == 200
    assert "openstack-api-version" not in answer.headers
    assert "locked" not in answer.json()["server"]
    assert answer.json()["server"]["links"][0]["href"] == f"http://api.example:8774/v2/servers/{server.uuid}"
    body = {"os-migrateLive": {"host": "nowhere", "block_migration": False, "disk_over_commit": False, "more": 1}}
    answer = await cloud.request("POST", f"/v2/servers/{server.uuid}/action", None, json=body)
    assert "Compute host nowhere could not be found." in answer.json()["badRequest"]["message"]
