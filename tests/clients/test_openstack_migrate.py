# SPDX-License-Identifier: Apache-2.0
"""openstackclient's own `server migrate`, which always sends 2.30 and so waits for the checks."""

from __future__ import annotations

from collections.abc import Callable

from tests.clients import running, service

Elsewhere = Callable[[str], str]


def test_live_migration_moves_the_server(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    openstack.run("server", "migrate", "--live-migration", idle)
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source
    assert service.actions(idle) == ["live-migration"]


def test_the_script_itself_moves_the_server_and_waits(openstack: running.Client, service: service.Service, idle: str) -> None:
    """As a process: the status is MIGRATING when the 202 leaves, else --wait would say Complete before anything moved."""
    source = service.host_of(idle)
    output = openstack.process("server", "migrate", "--live-migration", "--wait", idle)
    assert "Complete" in output.out
    assert service.host_of(idle) != source


def test_a_server_is_named_by_its_id(openstack: running.Client, service: service.Service, idle: str, elsewhere: Elsewhere) -> None:
    wanted = elsewhere(idle)
    openstack.run("server", "migrate", "--live-migration", "--host", wanted, service.id_of(idle))
    assert service.settled(idle)["dest_compute"] == wanted
    assert service.host_of(idle) == wanted


def test_block_and_shared_migration_are_understood(openstack: running.Client, service: service.Service, idle: str) -> None:
    """The disk is shared: --shared-migration moves it, --block-migration is refused with the real cause, in the answer."""
    source = service.host_of(idle)
    refused = openstack.run("server", "migrate", "--live-migration", "--block-migration", idle, status=1)
    assert "400" in refused.error
    assert "shared" in refused.error
    assert service.settled(idle)["status"] == "error"
    assert service.host_of(idle) == source
    openstack.run("server", "migrate", "--live-migration", "--shared-migration", idle)
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source


def test_disk_overcommit_is_dropped_by_the_client_with_a_warning(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    output = openstack.run("server", "migrate", "--live-migration", "--disk-overcommit", idle)
    assert "overcommit" in output.error
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source


def test_a_pinned_version_is_no_obstacle(openstack: running.Client, service: service.Service, idle: str, elsewhere: Elsewhere) -> None:
    """Below 2.30 the client itself refuses to name a host."""
    refused = openstack.run("--os-compute-api-version", "2.25", "server", "migrate", "--live-migration", "--host", "far", idle, status=1)
    assert "2.30 or greater is required" in refused.error
    assert service.migrations(idle) == []
    openstack.run("--os-compute-api-version", "2.25", "server", "migrate", "--live-migration", idle)
    assert service.settled(idle)["status"] == "completed"
    for version in ("2.30", "2.95"):
        wanted = elsewhere(idle)
        openstack.run("--os-compute-api-version", version, "server", "migrate", "--live-migration", "--host", wanted, idle)
        assert service.settled(idle)["status"] == "completed"
        assert service.host_of(idle) == wanted


def test_a_refusal_is_told_with_its_real_cause_and_changes_nothing(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    refused = openstack.run("server", "migrate", "--live-migration", "--host", source, idle, status=1)
    assert f"to current host {source}" in refused.error
    unknown = openstack.run("server", "migrate", "--live-migration", "--host", "no-such-host", idle, status=1)
    assert "Compute host no-such-host could not be found" in unknown.error
    assert service.server(idle)["status"] == "ACTIVE"
    assert service.host_of(idle) == source


def test_a_second_request_is_refused_and_names_the_first(openstack: running.Client, service: service.Service, restless: str) -> None:
    first = service.start_migration(restless)
    assert service.server(restless)["status"] == "MIGRATING"
    refused = openstack.run("server", "migrate", "--live-migration", restless, status=1)
    assert "409" in refused.error
    assert str(first["id"]) in refused.error
    assert [one["uuid"] for one in service.migrations(restless)] == [first["uuid"]]


def test_what_wherry_does_not_do_is_refused(openstack: running.Client, service: service.Service, idle: str) -> None:
    """Evacuation: the client shows the answer, the server stays as it was."""
    before = service.server(idle)
    refused = openstack.run("server", "evacuate", idle, status=1)
    assert "There is no such action" in refused.error, str(refused)
    after = service.server(idle)
    assert (after["status"], after["OS-EXT-SRV-ATTR:host"]) == (before["status"], before["OS-EXT-SRV-ATTR:host"])
    assert service.migrations(idle) == []


def test_a_cold_migration_is_confirmed(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    openstack.run("server", "migrate", "--wait", idle)
    assert service.server(idle)["status"] == "VERIFY_RESIZE"
    assert service.host_of(idle) != source
    openstack.run("server", "migrate", "confirm", idle)
    service.until(lambda: service.server(idle)["status"] == "ACTIVE", "the confirmation")
    (only,) = service.migrations(idle)
    assert (only["migration_type"], only["status"]) == ("migration", "confirmed")
