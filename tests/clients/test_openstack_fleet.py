# SPDX-License-Identifier: Apache-2.0
"""openstackclient's commands for servers, services and hypervisors, and the small resources that it looks up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients import running, service


@pytest.fixture
def limited(service: service.Service) -> Iterator[str]:
    """A host of this test's, as it was before afterwards."""
    yield "limited"
    path = f"/os-services/{service.compute_service('limited')['id']}"
    for body in ({"status": "enabled"}, {"forced_down": False}):
        service.request("PUT", path, headers={"OpenStack-API-Version": "compute 2.104"}, json=body)


# ----------------------------------------------------------------- servers


def test_list_of_a_host(openstack: running.Client) -> None:
    """With the names of flavors and images looked up, as it does by default; there is no image service."""
    rows = openstack.json("server", "list", "--host", "limited", "--all-projects")
    assert sorted(row["Name"] for row in rows) == ["limited-1", "limited-2", "limited-3"]
    assert {row["Status"] for row in rows} == {"ACTIVE"}
    assert all(row["Flavor"] for row in rows)


def test_list_filters(openstack: running.Client, service: service.Service, restless: str) -> None:
    service.start_migration(restless)
    migrating = openstack.json("server", "list", "--status", "MIGRATING", "--all-projects", "--no-name-lookup")
    assert restless in {row["Name"] for row in migrating}
    named = openstack.json("server", "list", "--name", "^limited-2$", "--all-projects", "--no-name-lookup", "--long")
    assert [(row["Name"], row["Host"]) for row in named] == [("limited-2", "limited")]
    page = openstack.json("server", "list", "--host", "limited", "--all-projects", "--no-name-lookup", "--limit", "1")
    assert len(page) == 1


def test_show(openstack: running.Client, service: service.Service) -> None:
    shown = openstack.json("server", "show", "limited-1")
    assert (shown["name"], shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("limited-1", "ACTIVE", "limited")
    assert shown["id"] == service.id_of("limited-1")


def test_show_diagnostics(openstack: running.Client) -> None:
    assert openstack.json("server", "show", "--diagnostics", "limited-1")["state"] == "running"


def test_pause_and_unpause(openstack: running.Client, service: service.Service) -> None:
    openstack.run("server", "pause", "toggled-1")
    service.until(lambda: service.server("toggled-1")["status"] == "PAUSED", "toggled-1 to be paused")
    openstack.run("server", "unpause", "toggled-1")
    service.until(lambda: service.server("toggled-1")["status"] == "ACTIVE", "toggled-1 to run")
    assert service.actions("toggled-1")[:2] == ["unpause", "pause"]


def test_stop_and_start(openstack: running.Client, service: service.Service) -> None:
    openstack.run("server", "stop", "toggled-2")
    service.until(lambda: service.server("toggled-2")["status"] == "SHUTOFF", "toggled-2 to stop")
    openstack.run("server", "start", "toggled-2")
    service.until(lambda: service.server("toggled-2")["status"] == "ACTIVE", "toggled-2 to run")
    assert service.actions("toggled-2")[:2] == ["start", "stop"]


def test_lock_and_unlock(openstack: running.Client, service: service.Service) -> None:
    openstack.run("--os-compute-api-version", "2.73", "server", "lock", "--reason", "for the test", "toggled-3")
    assert (service.server("toggled-3")["locked"], service.server("toggled-3")["locked_reason"]) == (True, "for the test")
    openstack.run("server", "unlock", "toggled-3")
    assert service.server("toggled-3")["locked"] is False


def test_set_state_frees_a_server_that_is_stuck(openstack: running.Client, service: service.Service) -> None:
    openstack.run("server", "set", "--state", "error", "--auto-approve", "toggled-4")
    assert service.server("toggled-4")["status"] == "ERROR"
    openstack.run("server", "set", "--state", "active", "--auto-approve", "toggled-4")
    assert service.server("toggled-4")["status"] == "ACTIVE"
    assert service.actions("toggled-4")[0] == "resetState"


# ---------------------------------------------------------------- services


def test_service_list(openstack: running.Client) -> None:
    rows = openstack.json("compute", "service", "list", "--service", "nova-compute")
    assert {row["Host"] for row in rows} == {"h1", "h2", "far", "draining", "leaving", "limited"}
    assert {(row["Status"], row["State"]) for row in rows if row["Host"] in ("h1", "h2")} == {("enabled", "up")}
    assert [row["Host"] for row in openstack.json("compute", "service", "list", "--host", "h1")] == ["h1"]


def test_service_disable_and_enable(openstack: running.Client, service: service.Service, limited: str) -> None:
    openstack.run("compute", "service", "set", "--disable", "--disable-reason", "patching", limited, "nova-compute")
    found = service.compute_service(limited)
    assert (found["status"], found["disabled_reason"]) == ("disabled", "patching")
    openstack.run("compute", "service", "set", "--enable", limited, "nova-compute")
    found = service.compute_service(limited)
    assert (found["status"], found["disabled_reason"]) == ("enabled", None)


def test_service_down_and_up(openstack: running.Client, service: service.Service, limited: str) -> None:
    openstack.run("compute", "service", "set", "--down", limited, "nova-compute")
    found = service.compute_service(limited)
    assert (found["forced_down"], found["state"]) == (True, "down")
    openstack.run("compute", "service", "set", "--up", limited, "nova-compute")
    found = service.compute_service(limited)
    assert (found["forced_down"], found["state"]) == (False, "up")


def test_service_delete_is_refused_while_servers_are_there(openstack: running.Client, service: service.Service) -> None:
    uuid = service.compute_service("limited")["id"]
    refused = openstack.run("compute", "service", "delete", uuid, status=1)
    assert "limited" in refused.error
    assert service.compute_service("limited")["id"] == uuid


def test_a_disabled_host_is_no_destination(openstack: running.Client, service: service.Service, limited: str, idle: str) -> None:
    openstack.run("compute", "service", "set", "--disable", limited, "nova-compute")
    source = service.host_of(idle)
    refused = openstack.run("server", "migrate", "--live-migration", "--host", limited, idle, status=1)
    assert "disabled" in refused.error
    assert service.host_of(idle) == source


# ------------------------------------------------------------- hypervisors


def test_hypervisor_list_and_matching(openstack: running.Client) -> None:
    rows = openstack.json("hypervisor", "list")
    assert len(rows) == 6
    assert {row["State"] for row in rows} == {"up"}
    name = rows[0]["Hypervisor Hostname"]
    assert [row["Hypervisor Hostname"] for row in openstack.json("hypervisor", "list", "--matching", name)] == [name]


def test_hypervisor_show_by_name(openstack: running.Client, service: service.Service) -> None:
    named = next(row["hypervisor_hostname"] for row in service.get("/os-hypervisors/detail", "2.104")["hypervisors"])
    shown = openstack.json("hypervisor", "show", named)
    assert (shown["hypervisor_hostname"], shown["state"], shown["status"]) == (named, "up", "enabled")
    assert shown["aggregates"] == []


# ------------------------------------------------------- small resources


def test_versions_show(openstack: running.Client) -> None:
    rows = openstack.json("versions", "show", "--service", "compute")
    assert [(row["Status"], row["Min Microversion"], row["Max Microversion"]) for row in rows if row["Status"] == "CURRENT"] == [
        ("CURRENT", "2.1", "2.1000")
    ]


def test_flavors(openstack: running.Client, service: service.Service) -> None:
    rows = openstack.json("flavor", "list", "--all")
    memory = {row["RAM"] for row in rows}
    assert 256 in memory
    wanted = next(row for row in rows if row["RAM"] == 256)
    assert openstack.json("flavor", "show", wanted["ID"])["ram"] == 256


def test_zones_aggregates_groups_and_limits(openstack: running.Client) -> None:
    assert [row["Zone Status"] for row in openstack.json("availability", "zone", "list", "--compute")] == ["available"]
    assert openstack.json("aggregate", "list") == []
    assert openstack.json("server", "group", "list") == []
    assert "instances" in {row["Name"] for row in openstack.json("limits", "show", "--absolute")}


def test_deprecated_commands(openstack: running.Client) -> None:
    """They ask at 2.1: the sums of hypervisors are there, os-hosts is not."""
    shown = openstack.json("hypervisor", "stats", "show")
    assert shown["count"] == 6
    openstack.run("host", "list", status=None)
