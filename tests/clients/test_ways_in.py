# SPDX-License-Identifier: Apache-2.0
"""Every way to use openstackclient without Keystone, each on the commands that it is known to carry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients import running, service

_WAYS: dict[str, dict[str, str]] = {
    "none": {"OS_AUTH_TYPE": "none"},
    "admin_token": {"OS_AUTH_TYPE": "admin_token", "OS_TOKEN": "admin:admin"},
    "http_basic": {"OS_AUTH_TYPE": "http_basic", "OS_USERNAME": "admin", "OS_PASSWORD": "not checked"},
}


@pytest.fixture(params=_WAYS)
def client(request: pytest.FixtureRequest, service: service.Service, without_identity: dict[str, str]) -> running.Client:
    """Openstackclient with an endpoint instead of a catalog."""
    return running.openstack({**without_identity, **_WAYS[request.param]})


def test_without_a_catalog(client: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    client.run("server", "migrate", "--live-migration", idle)
    record = service.settled(idle)
    assert record["status"] == "completed"
    assert service.host_of(idle) != source
    assert [row["UUID"] for row in client.json("server", "migration", "list", "--server", idle)] == [record["uuid"]]
    assert [row["Action"] for row in client.json("server", "event", "list", idle)] == ["live-migration"]
    assert len(client.json("server", "list", "--host", "limited", "--all-projects")) == 3
    assert client.json("server", "show", idle)["name"] == idle
    assert len(client.json("hypervisor", "list")) == 6
    assert "h1" in {row["Host"] for row in client.json("compute", "service", "list")}
    assert [row["Migration"] for row in client.json("live", "migration", "create", idle, "--wait", "--interval", "0.1")] == [
        record["id"] + 1
    ]


def test_the_plugin_needs_no_identity_at_all(service: service.Service, next_idle: Callable[[], str]) -> None:
    name = next_idle()
    client = running.openstack({"OS_AUTH_TYPE": "none", "OS_ENDPOINT": service.compute})
    source = service.host_of(name)
    client.run("live", "migration", "create", name, "--wait", "--interval", "0.1")
    assert service.host_of(name) != source
    assert client.json("live", "migration", "list", "--server", name)[0]["Status"] == "completed"


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/", "/v2.1/admin", ""], ids=["v2.1", "v2.1/", "project in the path", "root"])
def test_forms_of_the_endpoint(service: service.Service, path: str) -> None:
    client = running.openstack({"OS_AUTH_TYPE": "none", "OS_ENDPOINT": f"{service.base}{path}"})
    assert client.json("server", "show", "limited-1")["id"] == service.id_of("limited-1")
    assert client.json("live", "migration", "list") is not None
