# SPDX-License-Identifier: Apache-2.0
"""Services over HTTP: list, and both forms of update."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import host as host_model
from wherry.model import states

BASE = {"id", "binary", "host", "zone", "status", "state", "updated_at", "disabled_reason"}


async def _host(cloud: conftest.Cloud, name: str = "h1") -> host_model.Host:
    async def unit(uow: wherry_uow.UnitOfWork) -> host_model.Host:
        return await uow.hosts.get(name)

    return await cloud.store.read(unit)


@pytest.mark.parametrize(
    ("version", "keys"), [("2.1", BASE), ("2.10", BASE), ("2.11", BASE | {"forced_down"}), ("2.104", BASE | {"forced_down"})]
)
async def test_fields_by_version(cloud: conftest.Cloud, version: str, keys: set[str]) -> None:
    services = (await cloud.get("/v2.1/os-services", version)).json()["services"]
    assert [one["host"] for one in services] == ["h1", "h2", "h3"]
    assert all(set(one) == keys for one in services)
    host = await _host(cloud)
    assert services[0]["id"] == (host.uuid if version == "2.104" else host.id)
    assert (services[0]["binary"], services[0]["status"], services[0]["state"]) == ("nova-compute", "enabled", "up")


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("host=h2", ["h2"]),
        ("host=nowhere", []),
        ("binary=nova-compute", ["h1", "h2", "h3"]),
        ("binary=nova-scheduler", []),
        ("host=h1&binary=nova-compute", ["h1"]),
    ],
)
async def test_a_filter_shows_what_fits(cloud: conftest.Cloud, query: str, hosts: list[str]) -> None:
    services = (await cloud.get(f"/v2.1/os-services?{query}")).json()["services"]
    assert [one["host"] for one in services] == hosts


async def test_unknown_parameters_are_refused_from_2_75(cloud: conftest.Cloud) -> None:
    assert (await cloud.get("/v2.1/os-services?nonsense=1", "2.74")).status_code == 200
    assert (await cloud.get("/v2.1/os-services?nonsense=1", "2.75")).status_code == 400


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": "disabled"}, ("disabled", None, False, "up")),
        ({"status": "disabled", "disabled_reason": "broken fan"}, ("disabled", "broken fan", False, "up")),
        ({"forced_down": True}, ("enabled", None, True, "down")),
        ({"forced_down": "true", "status": "disabled"}, ("disabled", None, True, "down")),
    ],
)
async def test_update_by_uuid(cloud: conftest.Cloud, body: dict[str, Any], expected: tuple[Any, ...]) -> None:
    host = await _host(cloud)
    answer = await cloud.request("PUT", f"/v2.1/os-services/{host.uuid}", "2.69", json=body)
    assert answer.status_code == 200
    service = answer.json()["service"]
    assert (service["status"], service["disabled_reason"], service["forced_down"], service["state"]) == expected
    assert set(service) == BASE | {"forced_down"}
    stored = await _host(cloud)
    assert (stored.is_disabled, stored.disabled_reason, stored.is_forced_down) == (expected[0] == "disabled", expected[1], expected[2])


async def test_enabling_clears_the_reason(cloud: conftest.Cloud) -> None:
    host = await _host(cloud)
    for body in ({"status": "disabled", "disabled_reason": "x"}, {"status": "enabled"}):
        assert (await cloud.request("PUT", f"/v2.1/os-services/{host.uuid}", json=body)).status_code == 200
    assert (await _host(cloud)).disabled_reason is None


@pytest.mark.parametrize(
    ("service", "body", "code", "text"),
    [
        (None, {}, 400, "No updates were requested."),
        (None, {"disabled_reason": "x"}, 400, "Specifying disabled_reason requires that status is 'disabled'."),
        (None, {"status": "enabled", "disabled_reason": "x"}, 400, "Specifying disabled_reason requires that status is 'disabled'."),
        (None, {"status": "broken"}, 400, "Invalid input for field/attribute status. Value: broken."),
        (None, {"nonsense": 1}, 400, "Additional properties are not allowed ('nonsense' was unexpected)"),
        ("7", {"status": "enabled"}, 400, "Invalid uuid 7"),
        (conftest.UUID.format(9), {"status": "enabled"}, 404, "could not be found"),
    ],
)
async def test_updates_that_are_refused(cloud: conftest.Cloud, service: str | None, body: dict[str, Any], code: int, text: str) -> None:
    named = service or (await _host(cloud)).uuid
    answer = await cloud.request("PUT", f"/v2.1/os-services/{named}", "2.69", json=body)
    assert answer.status_code == code
    assert text in answer.text.replace('\\"', '"')


@pytest.mark.parametrize(
    ("version", "action", "body", "expected"),
    [
        ("2.1", "disable", {}, {"status": "disabled"}),
        ("2.1", "enable", {}, {"status": "enabled"}),
        ("2.1", "disable-log-reason", {"disabled_reason": "fan"}, {"status": "disabled", "disabled_reason": "fan"}),
        ("2.11", "force-down", {"forced_down": True}, {"forced_down": True}),
    ],
)
async def test_update_by_name(cloud: conftest.Cloud, version: str, action: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    content = {"host": "h1", "binary": "nova-compute", **body}
    answer = await cloud.request("PUT", f"/v2.1/os-services/{action}", version, json=content)
    assert answer.status_code == 200
    assert answer.json() == {"service": {"host": "h1", "binary": "nova-compute", **expected}}


@pytest.mark.parametrize(
    ("version", "action", "body", "code"),
    [
        ("2.1", "explode", {"host": "h1", "binary": "nova-compute"}, 404),
        ("2.10", "force-down", {"host": "h1", "binary": "nova-compute"}, 404),
        ("2.10", "enable", {"host": "h1", "binary": "nova-compute", "forced_down": True}, 400),
        ("2.11", "force-down", {"host": "h1", "binary": "nova-compute"}, 400),
        ("2.1", "disable-log-reason", {"host": "h1", "binary": "nova-compute"}, 400),
        ("2.1", "enable", {"host": "nowhere", "binary": "nova-compute"}, 404),
        ("2.1", "enable", {"host": "h1", "binary": "nova-scheduler"}, 404),
        ("2.1", "enable", {"host": "h1"}, 400),
        ("2.53", "enable", {"status": "enabled"}, 400),
    ],
)
async def test_updates_by_name_that_are_refused(cloud: conftest.Cloud, version: str, action: str, body: dict[str, Any], code: int) -> None:
    assert (await cloud.request("PUT", f"/v2.1/os-services/{action}", version, json=body)).status_code == code


async def test_services_are_the_administrators(cloud: conftest.Cloud) -> None:
    host = await _host(cloud)
    assert (await cloud.get("/v2.1/os-services", token=conftest.MANAGER)).status_code == 403
    answer = await cloud.request("PUT", f"/v2.1/os-services/{host.uuid}", token=conftest.MANAGER, json={"status": "disabled"})
    assert answer.status_code == 403
    assert not (await _host(cloud)).is_disabled


@pytest.mark.parametrize(
    ("version", "code"),
    [("2.1", 204), ("2.52", 204), ("2.53", 204), ("2.104", 204)],
)
async def test_a_service_without_servers_is_removed(cloud: conftest.Cloud, version: str, code: int) -> None:
    host = await _host(cloud, "h2")
    named = host.uuid if int(version.split(".")[1]) >= 53 else host.id
    answer = await cloud.request("DELETE", f"/v2.1/os-services/{named}", version)
    assert (answer.status_code, answer.content) == (code, b"")
    assert [one["host"] for one in (await cloud.get("/v2.1/os-services")).json()["services"]] == ["h1", "h3"]
    assert (await cloud.request("DELETE", f"/v2.1/os-services/{named}", version)).status_code == 404


async def test_a_service_with_servers_or_migrations_is_kept(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, "h1")
    source, destination = await _host(cloud, "h1"), await _host(cloud, "h2")
    refused = await cloud.request("DELETE", f"/v2.1/os-services/{source.uuid}")
    assert refused.status_code == 409
    assert "Unable to delete compute service that is hosting instances" in refused.text
    await cloud.migrate(server.uuid)
    found, _ = await cloud.open_operation(server.uuid)
    await cloud.advance(found.id, dest_compute="h2")
    refused = await cloud.request("DELETE", f"/v2.1/os-services/{destination.uuid}")
    assert refused.status_code == 409
    assert "Unable to delete compute service that has in-progress migrations" in refused.text
    await cloud.advance(found.id, event=states.Event.CHECK_FAILED)
    assert (await cloud.request("DELETE", f"/v2.1/os-services/{destination.uuid}")).status_code == 204


@pytest.mark.parametrize(
    ("version", "named", "code"), [("2.52", "x", 400), ("2.52", "999", 404), ("2.53", "7", 400), ("2.53", conftest.UUID.format(9), 404)]
)
async def test_removals_that_are_refused(cloud: conftest.Cloud, version: str, named: str, code: int) -> None:
    assert (await cloud.request("DELETE", f"/v2.1/os-services/{named}", version)).status_code == code


async def test_removals_are_the_administrators(cloud: conftest.Cloud) -> None:
    host = await _host(cloud, "h2")
    assert (await cloud.request("DELETE", f"/v2.1/os-services/{host.uuid}", token=conftest.MANAGER)).status_code == 403
