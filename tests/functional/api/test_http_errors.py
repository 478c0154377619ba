# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a request before any resource is concerned, over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from tests.functional.api import conftest
from wherry import errors
from wherry.api import app as api_app
from wherry.api import call, dispatcher, routing
from wherry.api.middleware import authentication, envelope, faults
from wherry.auth import context, login, noauth


@pytest.fixture
async def action(cloud: conftest.Cloud) -> str:
    return f"/v2.1/servers/{(await cloud.add_server(1)).uuid}/action"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[]", "one key, the action"),
        (b"7", "one key, the action"),
        (b"null", "one key, the action"),
        (b'{"os-migrateLive": null, "pause": null}', "one key, the action, which is one of: .*, lock, migrate, os-getConsoleOutput, .*"),
        (b"{}", "one key, the action"),
        (b"\xff\xfe", "not UTF-8"),
        ('{"os-migrateLive": null}'.encode("utf-16"), "not UTF-8"),
        (b'{"os-migrateLive": {"host": "\xed\xa0\x80"}}', "not UTF-8"),
        (b'{"os-migrateLive": {"timeout_seconds": ' + b"9" * 5000 + b"}}", "a number has 5000 digits, and none needs more than 100"),
        (b"[" * 5000, "nested"),
        (b'{"os-migrateLive": {"host": NaN}}', "NaN"),
        (b'{"os-migrateLive": {"host": null, "host": "h2"}}', "'host' stands twice"),
        (b'{"pause": null, "pause": null}', "'pause' stands twice"),
    ],
)
async def test_a_body_that_is_no_single_action_is_malformed(cloud: conftest.Cloud, action: str, content: bytes, why: str) -> None:
    answer = await cloud.request("POST", action, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    fault = answer.json()["badRequest"]
    assert fault["code"] == 400
    assert re.fullmatch(rf"Malformed request body: .*({why}).*\.", fault["message"])


async def test_a_key_of_a_later_version_says_which(cloud: conftest.Cloud, action: str) -> None:
    body = {"os-migrateLive": {"host": None, "block_migration": "auto", "timeout_seconds": 5, "nonsense": 1}}
    answer = await cloud.request("POST", action, json=body, version="2.104")
    assert answer.status_code == 400
    message = answer.json()["badRequest"]["message"]
    assert "'timeout_seconds' is known from microversion 2.1000 on" in message
    assert "'nonsense' is known" not in message


async def test_an_action_that_does_not_exist(cloud: conftest.Cloud, action: str) -> None:
    answer = await cloud.request("POST", action, json={"explode": None}, version="2.90")
    assert answer.status_code == 400
    message = answer.json()["badRequest"]["message"]
    assert re.fullmatch(r"There is no such action: explode\. Send one of: .*, os-migrateLive, .*\.", message)
    assert "os-checkMigrateLive" not in message


async def test_what_another_version_has_is_a_404_that_says_which(cloud: conftest.Cloud, action: str) -> None:
    answer = await cloud.request("POST", action, json={"os-checkMigrateLive": {}}, version="2.104")
    assert answer.json()["itemNotFound"]["message"] == (
        "The resource could not be found. POST /servers/{server_id}/action (os-checkMigrateLive) is there from microversion 2.1000 on."
    )
    answer = await cloud.request("GET", "/v2.1/os-hypervisors/statistics", version="2.88")
    assert answer.json()["itemNotFound"]["message"].endswith("GET /os-hypervisors/statistics is there up to microversion 2.87.")


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x"])
async def test_another_content_type_is_a_415(cloud: conftest.Cloud, action: str, content_type: str) -> None:
    answer = await cloud.request("POST", action, content=b"{}", headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert next(iter(answer.json())) == "badMediaType"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/vnd.openstack.compute+json"])
async def test_json_under_each_of_its_names(cloud: conftest.Cloud, action: str, content_type: str) -> None:
    content = b'{"os-migrateLive": {"host": null, "block_migration": "auto"}}'
    answer = await cloud.request("POST", action, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 202


async def test_a_large_body_is_a_413_whether_announced_or_not(cloud: conftest.Cloud, action: str) -> None:
    most = cloud.api.parts.config.api.max_request_body_bytes

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(most // 1000 + 2):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    for content in (b" " * (most + 1), pieces()):
        answer = await cloud.request("POST", action, content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["overLimit"]["code"] == 413


async def test_a_method_that_the_path_does_not_know_is_a_405(cloud: conftest.Cloud) -> None:
    answer = await cloud.request("DELETE", "/v2.1/servers/detail")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert next(iter(answer.json())) == "badMethod"


async def test_half_a_character_in_a_body_is_told_of_and_breaks_nothing(cloud: conftest.Cloud, action: str) -> None:
    content = b'{"os-migrateLive": {"host": "\\ud800", "block_migration": "auto"}}'
    answer = await cloud.request("POST", action, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize("query", ["name=%ff", "name=%00", "limit=x", "marker=%ed%a0%80"])
async def test_bad_queries_are_400(cloud: conftest.Cloud, query: str) -> None:
    assert (await cloud.get(f"/v2.1/servers?{query}")).status_code == 400


class _Broken:
    """A strategy with a programming error in it."""

    login: login.Login | None = None

    def challenge(self, base: str) -> str:
        return base

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        raise KeyError(f"secret of {headers['host']} {request_id}")

    async def close(self) -> None:
        return None


async def test_an_unforeseen_error_is_a_500_with_the_request_id_and_no_traceback(
    cloud: conftest.Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    application = api_app.build(cloud.api.parts, _Broken())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://api.example") as client:
        answer = await client.get("/v2.1/servers", headers={"X-OpenStack-Nova-API-Version": "2.34"})
    assert answer.status_code == 500
    message = answer.json()["computeFault"]["message"]
    assert answer.headers["x-openstack-request-id"] in message
    assert "builtins.KeyError" in message
    assert "Traceback" not in answer.text and "secret" not in answer.text
    assert answer.headers["openstack-api-version"] == "compute 2.34"
    assert "secret of" in caplog.text


async def test_rules_are_named_when_they_say_no(cloud: conftest.Cloud) -> None:
    answer = await cloud.get("/v2.1/os-services", token=conftest.MEMBER)
    assert answer.status_code == 403
    text = errors.Forbidden(rule="os_compute_api:os-services:list").message
    assert answer.json() == {"forbidden": {"code": 403, "message": text}}


async def test_a_handler_that_forgets_to_ask_its_rule_answers_nobody(cloud: conftest.Cloud) -> None:
    async def forgetful(_call: call.Call) -> str:
        return "secret"

    route = routing.Route(
        method="GET",
        path="/servers/{server_id}/forgetful",
        handler=forgetful,
        policy="os_compute_api:servers:show",
        concern=routing.Concern.SERVER,
        view=lambda result, _call: {"result": result},
        summary="Forgets.",
    )
    inner = dispatcher.Dispatcher(routing.Table([route]), cloud.api.parts)
    layered = envelope.Envelope(
        faults.Faults(authentication.Authentication(inner, noauth.NoAuth(cloud.api.parts.config.api, cloud.api.parts.clock))),
        lambda: "req-1",
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=layered), base_url="http://api.example") as client:
        answer = await client.get("/v2.1/servers/x/forgetful")
    assert answer.status_code == 500
    assert "secret" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_method_is_refused_before_its_body_is_read(cloud: conftest.Cloud, method: str) -> None:
    answer = await cloud.request(method, "/v2.1/os-migrations", content=b"{", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 405
