# SPDX-License-Identifier: Apache-2.0
"""What clients of other years send, byte for byte where it matters: bodies of 2.1, the old header alone, no header at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients import service

Elsewhere = Callable[[str], str]
OLD = "X-OpenStack-Nova-API-Version"


def _migrate(service: service.Service, name: str, headers: dict[str, str], **body: Any) -> Any:
    return service.request("POST", f"/servers/{service.id_of(name)}/action", headers=headers, json={"os-migrateLive": body})


@pytest.mark.parametrize("headers", [{OLD: "2.1"}, {OLD: "2.24"}, {}], ids=["2.1", "2.24", "no header"])
def test_openstackclient_6_tempest_and_gophercloud_migrate_at_2_1(
    service: service.Service, idle: str, elsewhere: Elsewhere, headers: dict[str, str]
) -> None:
    """The old openstackclient 6 defaults to 2.1, tempest names 2.1 or 2.24, gophercloud names nothing unless it is told to."""
    wanted = elsewhere(idle)
    answer = _migrate(service, idle, headers, host=wanted, block_migration=False, disk_over_commit=False)
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers[OLD] == headers.get(OLD, "2.1")
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) == wanted


@pytest.mark.parametrize("version", ["2.25", "2.30", "2.34", "2.68"])
def test_the_old_header_alone_names_every_version(service: service.Service, idle: str, version: str) -> None:
    source = service.host_of(idle)
    answer = _migrate(service, idle, {OLD: version}, host=None, block_migration="auto")
    assert answer.status_code == 202
    assert answer.headers[OLD] == version
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source


def test_gophercloud_leaves_out_what_is_nil(service: service.Service, idle: str) -> None:
    """Its body without block_migration lacks a required key: a 400, and nothing happens."""
    answer = _migrate(service, idle, {}, host=None)
    assert answer.status_code == 400
    assert "block_migration" in answer.json()["badRequest"]["message"]
    assert service.migrations(idle) == []


def test_gophercloud_sends_wherrys_keys_as_the_recipe_has_it(service: service.Service, restless: str) -> None:
    """ServiceClient.Post at Microversion 2.1000: both version headers, a null host, keys in the order of Go's maps."""
    headers = {OLD: "2.1000", "OpenStack-API-Version": "compute 2.1000", "Accept": "application/json", "Content-Type": "application/json"}
    answer = _migrate(service, restless, headers, block_migration="auto", host=None, on_timeout="abort", timeout_seconds=1)
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["OpenStack-API-Version"] == "compute 2.1000"
    assert service.settled(restless)["status"] == "cancelled"


def test_an_old_body_at_a_new_version_is_refused(service: service.Service, idle: str) -> None:
    answer = _migrate(service, idle, {OLD: "2.25"}, host=None, block_migration=False, disk_over_commit=False)
    assert answer.status_code == 400
    assert service.migrations(idle) == []


def test_booleans_as_words(service: service.Service, idle: str) -> None:
    """Old Python clients and shell scripts write them so."""
    answer = _migrate(service, idle, {OLD: "2.1"}, host=None, block_migration="False", disk_over_commit="no")
    assert answer.status_code == 202
    assert service.settled(idle)["status"] == "completed"


def test_openstackclient_6_finds_a_server_by_name(service: service.Service, idle: str) -> None:
    """GET by the name gives 404, then the list by name, all at 2.1."""
    assert service.request("GET", f"/servers/{idle}", headers={OLD: "2.1"}).status_code == 404
    found = service.request("GET", f"/servers?name={idle}", headers={OLD: "2.1"}).json()["servers"]
    assert service.id_of(idle) in {server["id"] for server in found}


def test_tempest_waits_for_a_server_that_is_on_its_way(service: service.Service, idle: str) -> None:
    """Ready means the status and no task state; the 202 must not leave before both say MIGRATING."""
    answer = _migrate(service, idle, {OLD: "2.34"}, host=None, block_migration="auto")
    shown = service.request("GET", f"/servers/{service.id_of(idle)}", headers={OLD: "2.1"}).json()["server"]
    assert answer.headers["x-compute-request-id"] == answer.headers["x-openstack-request-id"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) in (("MIGRATING", "migrating"), ("ACTIVE", None))
    assert service.settled(idle)["status"] == "completed"


def test_tempest_wants_a_string_for_null_refused(service: service.Service, restless: str) -> None:
    """Its force-complete sends {"force_complete": "null"}, with the uuid in the path, and passes only on a 400."""
    record = service.start_migration(restless)
    path = f"/servers/{record['server_uuid']}/migrations/{record['uuid']}/action"
    answer = service.request("POST", path, headers={OLD: "2.80"}, json={"force_complete": "null"})
    assert answer.status_code == 400
    assert service.migration(restless)["status"] == "running"


def test_abort_with_the_old_header_at_2_24(service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    answer = service.request("DELETE", f"/servers/{record['server_uuid']}/migrations/{record['id']}", headers={OLD: "2.24"})
    assert answer.status_code == 202
    assert service.settled(restless)["status"] == "cancelled"
    assert service.host_of(restless) == record["source_compute"]


def test_services_are_disabled_in_the_form_of_2_1(service: service.Service) -> None:
    """By host and binary in the body, with no header, as a client sends that negotiated less than 2.53."""
    named = {"host": "far", "binary": "nova-compute"}
    assert service.request("PUT", "/os-services/disable", json=named).status_code == 200
    assert service.compute_service("far")["status"] == "disabled"
    assert service.request("PUT", "/os-services/enable", json=named).status_code == 200
    assert service.compute_service("far")["status"] == "enabled"


def test_gophercloud_decodes_hypervisors_and_actions(service: service.Service, idle: str) -> None:
    """It wants cpu_info, a string below 2.28, and times of actions with microseconds and no zone."""
    hypervisor = service.request("GET", "/os-hypervisors/detail").json()["hypervisors"][0]
    assert isinstance(hypervisor["cpu_info"], str)
    assert isinstance(hypervisor["id"], int)
    _migrate(service, idle, {OLD: "2.25"}, host=None, block_migration="auto")
    action = service.request("GET", f"/servers/{service.id_of(idle)}/os-instance-actions").json()["instanceActions"][0]
    assert len(action["start_time"]) == len("2006-01-02T15:04:05.000000")
