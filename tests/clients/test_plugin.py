# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration …`, through openstackclient's own shell."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.clients import running, service

Elsewhere = Callable[[str], str]


def test_create_answers_before_the_checks_and_names_the_migration(
    openstack: running.Client, service: service.Service, idle: str, elsewhere: Elsewhere
) -> None:
    wanted = elsewhere(idle)
    rows = openstack.json("live", "migration", "create", idle, "--host", wanted)
    record = service.settled(idle)
    assert [(row["Server"], row["Server ID"], row["Migration"]) for row in rows] == [(idle, record["server_uuid"], record["id"])]
    assert rows[0]["Request ID"].startswith("req-")
    assert service.host_of(idle) == wanted


def test_create_wait_ends_with_0_when_all_have_arrived(
    openstack: running.Client, service: service.Service, next_idle: Callable[[], str]
) -> None:
    """As a process, several servers at once, by name and by id."""
    first, second = next_idle(), next_idle()
    before = {name: service.host_of(name) for name in (first, second)}
    output = openstack.process(
        "live", "migration", "create", first, service.id_of(second), "--wait", "--interval", "0.1", "--block-migration", "no", "-f", "json"
    )
    rows = {row["Server"]: row for row in json.loads(output.out)}
    assert set(rows) == {first, second}
    for name, row in rows.items():
        assert row["Status"] == "completed"
        assert row["Destination"] == service.host_of(name) != before[name]
        assert f"{name}: compute_live_migration on {row['Source']}: Success" in output.error


def test_create_wait_ends_with_1_and_the_reason_when_the_checks_refuse(
    openstack: running.Client, service: service.Service, idle: str
) -> None:
    """Unlike openstackclient's own: `server migrate --wait` says Complete to what failed behind the answer."""
    source = service.host_of(idle)
    output = openstack.run("live", "migration", "create", idle, "--host", source, "--wait", "--interval", "0.1", "-f", "json", status=1)
    row = json.loads(output.out)[0]
    assert row["Status"] == "error"
    assert f"to current host {source}" in row["Reason"]
    assert f"{idle}: error: Unable to migrate" in output.error
    assert service.server(idle)["status"] == "ACTIVE"


def test_create_wait_ends_with_1_and_the_reason_when_somebody_aborts(
    openstack: running.Client, service: service.Service, restless: str
) -> None:
    """The deadline of the request does it, which is Wherry's 2.1000."""
    source = service.host_of(restless)
    output = openstack.run(
        "live", "migration", "create", restless, "--timeout", "1", "--on-timeout", "abort", "--wait", "--interval", "0.1", "-q", status=1
    )
    record = service.migration(restless)
    assert (record["status"], record["reason"], record["timeout_seconds"], record["on_timeout"]) == ("cancelled", "deadline", 1, "abort")
    assert (record["timeout_seconds_origin"], record["on_timeout_origin"]) == ("request", "request")
    assert f"{restless}: cancelled: " in output.error
    assert "deadline" in output.error
    assert service.host_of(restless) == source


def test_create_wait_gives_up_with_3_and_the_migration_goes_on(openstack: running.Client, service: service.Service, restless: str) -> None:
    output = openstack.run("live", "migration", "create", restless, "--wait", "--wait-limit", "0.5", "--interval", "0.1", status=3)
    assert "It goes on" in output.error
    assert service.migration(restless)["status"] == "running"


def test_create_tells_refusals_beside_what_is_accepted(
    openstack: running.Client, service: service.Service, idle: str, restless: str
) -> None:
    service.start_migration(restless)
    output = openstack.run("live", "migration", "create", idle, restless, "-f", "json", status=1)
    rows = {row["Server"]: row for row in json.loads(output.out)}
    assert rows[restless]["Status"] == "refused"
    assert "migrating" in rows[restless]["Reason"]
    assert service.settled(idle)["status"] == "completed"
    assert len(service.migrations(restless)) == 1


def test_create_moves_nothing_when_a_name_is_wrong(openstack: running.Client, service: service.Service, idle: str) -> None:
    output = openstack.run("live", "migration", "create", idle, "no-such-server", status=1)
    assert "No server is called no-such-server" in output.error
    assert service.migrations(idle) == []


def test_create_from_a_host_that_does_not_exist_fails(openstack: running.Client) -> None:
    """A misspelt host in a drain must not look like a host that is empty."""
    output = openstack.run("live", "migration", "create", "--from-host", "drainign", status=1)
    assert "There is no host drainign" in output.error


def test_create_from_a_host_asks_for_each_of_its_servers(openstack: running.Client, service: service.Service) -> None:
    """One request for each, all with the same deadline; --wait is for all."""
    words = ("--timeout", "60", "--on-timeout", "force_complete", "--wait", "--interval", "0.1")
    rows = openstack.json("live", "migration", "create", "--from-host", "draining", *words)
    assert sorted((row["Server"], row["Status"]) for row in rows) == [("drained-1", "completed"), ("drained-2", "completed")]
    assert len({row["Request ID"] for row in rows}) == 2
    for row in rows:
        shown = openstack.json("live", "migration", "show", row["Server"])
        assert (shown["timeout_seconds"], shown["on_timeout"], shown["timeout_seconds_origin"]) == (60, "force_complete", "request")
        assert (shown["percentage"], shown["finished_at"] is not None) == (100, True)
    assert service.get("/servers?all_tenants=1&host=draining", "2.104")["servers"] == []


def test_create_wants_servers_or_a_host(openstack: running.Client, idle: str) -> None:
    for words in ((), (idle, "--from-host", "h1")):
        assert "one of the two" in openstack.run("live", "migration", "create", *words, status=1).error


def test_create_pinned_below_2_1000_refuses_a_deadline_before_sending(
    openstack: running.Client, service: service.Service, idle: str
) -> None:
    output = openstack.run("--os-compute-api-version", "2.90", "live", "migration", "create", idle, "--timeout", "5", status=1)
    assert "2.1000" in output.error
    assert service.migrations(idle) == []


@pytest.mark.parametrize("named", [None, "id", "uuid"])
def test_abort_wait(openstack: running.Client, service: service.Service, restless: str, named: str | None) -> None:
    record = service.start_migration(restless)
    words = [] if named is None else [str(record[named])]
    shown = openstack.json("live", "migration", "abort", restless, *words, "--wait", "--interval", "0.1")
    assert (shown["Status"], shown["Migration"]) == ("cancelled", record["id"])
    assert service.host_of(restless) == record["source_compute"]


@pytest.mark.parametrize("named", [None, "uuid"])
def test_force_complete_wait(openstack: running.Client, service: service.Service, restless: str, named: str | None) -> None:
    record = service.start_migration(restless)
    words = [] if named is None else [str(record[named])]
    shown = openstack.json("live", "migration", "force", "complete", restless, *words, "--wait", "--interval", "0.1")
    assert (shown["Status"], shown["Migration"]) == ("completed", record["id"])
    assert service.host_of(restless) == record["dest_compute"]


def test_abort_without_anything_going_on_is_refused(openstack: running.Client, service: service.Service, idle: str) -> None:
    for words in (("abort",), ("force", "complete")):
        assert "no live migration that goes on" in openstack.run("live", "migration", *words, idle, status=1).error
    openstack.run("live", "migration", "create", idle, "--wait", "--interval", "0.1")
    host = service.host_of(idle)
    number = str(service.migration(idle)["id"])
    assert "HTTP 400" in openstack.run("live", "migration", "abort", idle, number, status=1).error
    assert (service.migration(idle)["status"], service.host_of(idle)) == ("completed", host)


def test_list_filters(openstack: running.Client, service: service.Service, restless: str, idle: str) -> None:
    going = service.start_migration(restless)
    source = service.host_of(idle)
    openstack.run("live", "migration", "create", idle, "--host", source, "--wait", "--interval", "0.1", status=1)
    refused = service.migration(idle)

    def uuids(*words: str) -> list[str]:
        return [row["UUID"] for row in openstack.json("live", "migration", "list", *words)]

    assert uuids("--server", restless) == [going["uuid"]]
    in_progress = uuids("--in-progress")
    assert going["uuid"] in in_progress
    assert refused["uuid"] not in in_progress
    assert uuids("--server", idle, "--status", "error") == [refused["uuid"]]
    assert uuids("--server", idle, "--status", "completed") == []
    assert uuids("--limit", "1") == [refused["uuid"]]
    assert uuids("--server", idle, "--changes-since", "2100-01-01T00:00:00Z") == []
    row = openstack.json("live", "migration", "list", "--server", idle, "--long")[0]
    assert row["Reason"] == refused["reason"]
    assert row["Project ID"] == "admin"


@pytest.mark.parametrize("named", [None, "id", "uuid"])
def test_show_of_what_has_ended(openstack: running.Client, service: service.Service, idle: str, named: str | None) -> None:
    """Nova shows a migration only while it goes on."""
    source = service.host_of(idle)
    openstack.run("live", "migration", "create", idle, "--host", source, "--wait", "--interval", "0.1", status=1)
    record = service.migration(idle)
    words = [] if named is None else [str(record[named])]
    shown = openstack.json("live", "migration", "show", idle, *words)
    assert (shown["uuid"], shown["status"], shown["reason"]) == (record["uuid"], "error", record["reason"])
    assert f"to current host {source}" in shown["explanation"]
    assert shown["events"][-1]["result"] == "Error"


def test_show_of_what_is_not_there(openstack: running.Client, idle: str) -> None:
    assert "was never live-migrated" in openstack.run("live", "migration", "show", idle, status=1).error
    assert "has no live migration 987654" in openstack.run("live", "migration", "show", idle, "987654", status=1).error


def test_watch_tells_progress_and_stages_and_ends_with_the_reason(
    openstack: running.Client, service: service.Service, restless: str
) -> None:
    record = service.start_migration(restless, timeout_seconds=2, on_timeout="abort")
    output = openstack.run("live", "migration", "watch", restless, "--interval", "0.2", status=1)
    assert f"{restless}  {record['source_compute']} → {record['dest_compute']}  running" in output.out
    assert "MiB left" in output.out
    assert "abort in 0:0" in output.out
    assert f"compute_pre_live_migration on {record['dest_compute']}: Success" in output.out
    assert f"{restless}: cancelled: " in output.error


def test_watch_ends_with_0_when_the_server_arrives(openstack: running.Client, service: service.Service, idle: str) -> None:
    openstack.run("live", "migration", "create", idle)
    output = openstack.run("live", "migration", "watch", idle, "--interval", "0.1")
    assert f"{idle} runs on {service.host_of(idle)}." in output.out


def test_a_manager_without_the_administrators_rights_follows_too(service: service.Service, idle: str) -> None:
    """Hosts and details are the administrator's; the status and a reason without hosts are everybody's who may migrate."""
    manager = running.openstack({"OS_AUTH_TYPE": "admin_token", "OS_TOKEN": "maria:admin:manager", "OS_ENDPOINT": service.compute})
    rows = manager.json("live", "migration", "create", idle, "--wait", "--interval", "0.1")
    assert [(row["Status"], row["Destination"]) for row in rows] == [("completed", None)]
    assert service.migration(idle)["status"] == "completed"
