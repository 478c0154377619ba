# SPDX-License-Identifier: Apache-2.0
"""openstackclient's `server migration …` and `server event …`."""

from __future__ import annotations

import pytest

from tests.clients import running, service


@pytest.fixture
def moved(service: service.Service, idle: str) -> str:
    """A server that has been moved."""
    service.request(
        "POST",
        f"/servers/{service.id_of(idle)}/action",
        headers={"OpenStack-API-Version": "compute 2.104"},
        json={"os-migrateLive": {"host": None, "block_migration": "auto"}},
    )
    assert service.settled(idle)["status"] == "completed"
    return idle


def test_list_shows_what_was_moved_and_filters(openstack: running.Client, service: service.Service, moved: str) -> None:
    record = service.migration(moved)
    shown = openstack.json("server", "migration", "list", "--server", moved)
    assert [(row["Id"], row["UUID"], row["Status"], row["Dest Compute"], row["Type"]) for row in shown] == [
        (record["id"], record["uuid"], "completed", record["dest_compute"], "live-migration")
    ]
    matching = ("--host", record["source_compute"]), ("--status", "completed"), ("--type", "live-migration")
    for words in (*matching, ("--changes-since", record["created_at"] + "Z"), ("--changes-before", "2100-01-01T00:00:00Z")):
        rows = openstack.json("server", "migration", "list", "--server", moved, *words)
        assert [row["UUID"] for row in rows] == [record["uuid"]], words
    for words in (("--host", "leaving"), ("--status", "error"), ("--type", "evacuation"), ("--changes-since", "2100-01-01T00:00:00Z")):
        assert openstack.json("server", "migration", "list", "--server", moved, *words) == [], words


def test_list_in_pages(openstack: running.Client, service: service.Service, moved: str) -> None:
    for _ in range(2):
        openstack.run("server", "migrate", "--live-migration", moved)
        service.settled(moved)
    everything = [one["uuid"] for one in service.migrations(moved)]
    assert len(everything) == 3
    first = openstack.json("server", "migration", "list", "--server", moved, "--limit", "2")
    assert [row["UUID"] for row in first] == everything[:2]
    rest = openstack.json("server", "migration", "list", "--server", moved, "--limit", "2", "--marker", first[-1]["UUID"])
    assert [row["UUID"] for row in rest] == everything[2:]


def test_list_by_project_and_user(openstack: running.Client, service: service.Service, moved: str) -> None:
    """The client wants a pinned version for these, and looks the names up in identity."""
    uuid = service.migration(moved)["uuid"]
    pinned = ("--os-compute-api-version", "2.80", "server", "migration", "list", "--server", moved)
    assert [row["UUID"] for row in openstack.json(*pinned, "--project", "admin")] == [uuid]
    assert [row["UUID"] for row in openstack.json(*pinned, "--user", "admin")] == [uuid]


def test_show_by_uuid(openstack: running.Client, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    shown = openstack.json("server", "migration", "show", restless, record["uuid"])
    assert (shown["ID"], shown["Status"], shown["Source Compute"]) == (record["id"], "running", record["source_compute"])
    assert shown["Memory Total Bytes"] == 1024 << 20


def test_show_by_number_is_a_fault_of_the_client_and_stays_a_404(
    openstack: running.Client, service: service.Service, restless: str
) -> None:
    """It swaps the two ids."""
    record = service.start_migration(restless)
    refused = openstack.run("server", "migration", "show", restless, str(record["id"]), status=1)
    assert "No ServerMigration found" in refused.error


@pytest.mark.parametrize("named", ["id", "uuid"])
def test_abort_ends_it_and_leaves_the_server(openstack: running.Client, service: service.Service, restless: str, named: str) -> None:
    record = service.start_migration(restless)
    openstack.run("server", "migration", "abort", restless, str(record[named]))
    assert service.settled(restless)["status"] == "cancelled"
    assert service.host_of(restless) == record["source_compute"]
    assert service.actions(restless) == ["live_migration_cancel", "live-migration"]


@pytest.mark.parametrize("named", ["id", "uuid"])
def test_force_complete_ends_it_with_the_server_moved(
    openstack: running.Client, service: service.Service, restless: str, named: str
) -> None:
    record = service.start_migration(restless)
    openstack.run("server", "migration", "force", "complete", restless, str(record[named]))
    assert service.settled(restless)["status"] == "completed"
    assert service.host_of(restless) == record["dest_compute"]
    assert service.actions(restless) == ["live_migration_force_complete", "live-migration"]


def test_abort_and_force_of_what_is_not_there_are_refused(openstack: running.Client, service: service.Service, moved: str) -> None:
    number = str(service.migration(moved)["id"])
    host = service.host_of(moved)
    for words in (("abort",), ("force", "complete")):
        for named in (number, "987654"):
            refused = openstack.run("server", "migration", *words, moved, named, status=None)
            assert "40" in refused.error or "not found" in refused.error.lower(), str(refused)
    assert service.migration(moved)["status"] == "completed"
    assert service.host_of(moved) == host


def test_events_tell_every_stage(openstack: running.Client, service: service.Service, moved: str) -> None:
    listed = openstack.json("server", "event", "list", moved)
    assert [(row["Server ID"], row["Action"]) for row in listed] == [(service.id_of(moved), "live-migration")]
    request_id = listed[0]["Request ID"]
    assert openstack.json("server", "event", "list", "--long", moved)[0]["Project ID"] == "admin"
    shown = openstack.json("server", "event", "show", moved, request_id)
    assert (shown["action"], shown["message"]) == ("live-migration", None)
    names = [event["event"] for event in reversed(shown["events"])]
    assert names[-2:] == ["compute_live_migration", "compute_post_live_migration_at_destination"]
    record = service.migration(moved)
    assert [event["host"] for event in shown["events"][:2]] == [record["dest_compute"], record["source_compute"]]


def test_events_of_a_refused_migration_say_why(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    openstack.run("server", "migrate", "--live-migration", "--host", source, idle, status=1)
    newest = openstack.json("server", "event", "list", "--limit", "1", idle)[0]
    shown = openstack.json("server", "event", "show", idle, newest["Request ID"])
    assert shown["message"] == "Error"
    assert f"to current host {source}" in shown["events"][0]["details"]


def test_events_in_pages(openstack: running.Client, service: service.Service, moved: str) -> None:
    openstack.run("server", "migrate", "--live-migration", moved)
    service.settled(moved)
    everything = [row["Request ID"] for row in openstack.json("server", "event", "list", moved)]
    assert len(everything) == 2
    assert [row["Request ID"] for row in openstack.json("server", "event", "list", moved, "--marker", everything[0])] == everything[1:]
    assert openstack.json("server", "event", "list", moved, "--changes-since", "2100-01-01T00:00:00Z") == []
