# SPDX-License-Identifier: Apache-2.0
"""The nova command: deprecated, and still in scripts. It sends the version that it is asked for, 2.96 at most."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.clients import running, service

Elsewhere = Callable[[str], str]


@pytest.fixture
def enabled(service: service.Service) -> Iterator[str]:
    """The host `limited`, whose service is as it was afterwards."""
    yield "limited"
    path = f"/os-services/{service.compute_service('limited')['id']}"
    for body in ({"status": "enabled"}, {"forced_down": False}):
        service.request("PUT", path, headers={"OpenStack-API-Version": "compute 2.104"}, json=body)


def test_live_migration(nova: running.Client, service: service.Service, idle: str, elsewhere: Elsewhere) -> None:
    source = service.host_of(idle)
    nova.run("live-migration", idle)
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source
    wanted = elsewhere(idle)
    nova.run("live-migration", idle, wanted)
    assert service.settled(idle)["dest_compute"] == wanted


def test_the_script_itself(nova: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    nova.process("live-migration", idle)
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source


@pytest.mark.parametrize(
    "words",
    [
        ("--os-compute-api-version", "2.1", "live-migration"),
        ("--os-compute-api-version", "2.24", "live-migration", "--disk-over-commit"),
        ("--os-compute-api-version", "2.25", "live-migration"),
        ("--os-compute-api-version", "2.30", "live-migration", "--force"),
        ("--os-compute-api-version", "2.67", "live-migration", "--force"),
        ("--os-compute-api-version", "2.68", "live-migration"),
    ],
    ids=lambda words: " ".join(words[1:]),
)
def test_live_migration_in_the_form_of_each_version(
    nova: running.Client, service: service.Service, idle: str, elsewhere: Elsewhere, words: tuple[str, ...]
) -> None:
    wanted = elsewhere(idle)
    nova.run(*words, idle, wanted)
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) == wanted


def test_block_migrate_of_a_shared_disk_fails_and_says_why(nova: running.Client, service: service.Service, idle: str) -> None:
    """At 2.96 behind the answer; below 2.34 in it."""
    source = service.host_of(idle)
    nova.run("live-migration", "--block-migrate", idle)
    assert service.settled(idle)["status"] == "error"
    refused = nova.run("--os-compute-api-version", "2.30", "live-migration", "--block-migrate", idle, status=1)
    assert "shared" in refused.error
    assert service.host_of(idle) == source


def test_abort(nova: running.Client, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    nova.run("live-migration-abort", restless, str(record["id"]))
    assert service.settled(restless)["status"] == "cancelled"
    assert service.host_of(restless) == record["source_compute"]


def test_force_complete(nova: running.Client, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    nova.run("live-migration-force-complete", restless, str(record["id"]))
    assert service.settled(restless)["status"] == "completed"
    assert service.host_of(restless) == record["dest_compute"]


def test_server_migration_list_and_show(nova: running.Client, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    listed = nova.run("server-migration-list", restless).out
    assert re.search(rf"\| {record['id']} +\| {record['source_compute']}", listed), listed
    assert "running" in listed
    shown = _properties(nova.run("server-migration-show", restless, str(record["id"])).out)
    assert (shown["uuid"], shown["status"]) == (record["uuid"], "running")
    assert shown["memory_total_bytes"] == str(record["memory_total_bytes"])


def test_migration_list_and_its_filters(nova: running.Client, service: service.Service, idle: str) -> None:
    nova.run("live-migration", idle)
    record = service.settled(idle)
    words = ("migration-list", "--instance-uuid", record["server_uuid"])
    for matching in ((), ("--status", "completed"), ("--migration-type", "live-migration"), ("--source-compute", record["source_compute"])):
        assert record["uuid"] in nova.run(*words, *matching).out, matching
    for other in (("--status", "error"), ("--migration-type", "evacuation"), ("--source-compute", "leaving")):
        assert record["uuid"] not in nova.run(*words, *other).out, other


def test_instance_actions(nova: running.Client, service: service.Service, idle: str) -> None:
    nova.run("live-migration", idle)
    service.settled(idle)
    listed = nova.run("instance-action-list", idle).out
    found = re.search(r"req-[0-9a-f-]{36}", listed)
    assert found, listed
    shown = nova.run("instance-action", idle, found[0]).out
    assert "compute_live_migration" in shown
    assert "Success" in shown


def test_host_evacuate_live_with_a_limit_and_a_target(nova: running.Client, service: service.Service) -> None:
    """One request per server, no waiting; what the tool does to drain a host."""
    nova.run("host-evacuate-live", "--max-servers", "1", "--target-host", "far", "leaving")
    service.until(lambda: len(_servers_on(service, "leaving")) == 1, "one server to leave")
    nova.run("host-evacuate-live", "--strict", "leaving")
    service.until(lambda: not _servers_on(service, "leaving"), "all servers to leave")
    assert {"leaver-1", "leaver-2"} & _servers_on(service, "far")


def test_services(nova: running.Client, service: service.Service, enabled: str) -> None:
    uuid = service.compute_service(enabled)["id"]
    assert enabled in nova.run("service-list", "--binary", "nova-compute").out
    nova.run("service-disable", "--reason", "patching", uuid)
    assert service.compute_service(enabled)["disabled_reason"] == "patching"
    nova.run("service-enable", uuid)
    assert service.compute_service(enabled)["status"] == "enabled"
    nova.run("service-force-down", uuid)
    assert service.compute_service(enabled)["state"] == "down"
    nova.run("service-force-down", "--unset", uuid)
    assert service.compute_service(enabled)["state"] == "up"


def test_hypervisors(nova: running.Client, service: service.Service) -> None:
    found = service.get("/os-hypervisors/detail", "2.96")["hypervisors"][0]
    assert found["hypervisor_hostname"] in nova.run("hypervisor-list").out
    shown = _properties(nova.run("hypervisor-show", found["id"]).out)
    assert shown["hypervisor_hostname"] == found["hypervisor_hostname"]
    assert "limited-1" in nova.run("hypervisor-servers", "limited").out or service.host_of("limited-1") == "limited"


def test_list_and_show(nova: running.Client, service: service.Service) -> None:
    listed = nova.run("list", "--all-tenants", "--host", "limited", "--fields", "name,status").out
    assert set(re.findall(r"limited-\d", listed)) == {"limited-1", "limited-2", "limited-3"}
    shown = _properties(nova.run("show", "limited-1").out)
    assert (shown["id"], shown["OS-EXT-SRV-ATTR:host"]) == (service.id_of("limited-1"), "limited")


def test_lock_pause_and_reset(nova: running.Client, service: service.Service) -> None:
    nova.run("lock", "toggled-5")
    assert service.server("toggled-5")["locked"] is True
    nova.run("unlock", "toggled-5")
    assert service.server("toggled-5")["locked"] is False
    nova.run("pause", "toggled-5")
    service.until(lambda: service.server("toggled-5")["status"] == "PAUSED", "toggled-5 to be paused")
    nova.run("unpause", "toggled-5")
    service.until(lambda: service.server("toggled-5")["status"] == "ACTIVE", "toggled-5 to run")
    nova.run("reset-state", "toggled-5")
    assert service.server("toggled-5")["status"] == "ERROR"
    nova.run("reset-state", "--active", "toggled-5")
    assert service.server("toggled-5")["status"] == "ACTIVE"


def test_small_resources(nova: running.Client) -> None:
    assert "256" in nova.run("flavor-list").out
    assert "available" in nova.run("availability-zone-list").out
    for words in (("aggregate-list",), ("server-group-list",), ("limits",)):
        nova.run(*words)
    assert "2.1000" in nova.run("version-list").out


def _servers_on(service: service.Service, host: str) -> set[str]:
    return {server["name"] for server in service.get(f"/servers?all_tenants=1&host={host}", "2.104")["servers"]}


def _properties(table: str) -> dict[str, str]:
    rows = (line.strip("| ").split("|", 1) for line in table.splitlines() if line.startswith("|"))
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}
