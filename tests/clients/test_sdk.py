# SPDX-License-Identifier: Apache-2.0
"""openstacksdk as programs use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openstack import connection, exceptions

from tests.clients import service

#: It warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore")

Elsewhere = Callable[[str], str]


@pytest.fixture(scope="module")
def cloud(service: service.Service, identity: dict[str, str]) -> Iterator[connection.Connection]:
    """A connection of somebody who has logged in."""
    with _connected(identity) as made:
        yield made


def _connected(environ: dict[str, str], **more: str) -> connection.Connection:
    names: dict[str, Any] = {name.removeprefix("OS_").lower(): value for name, value in environ.items()} | more
    return connection.Connection(**names)


def _id(cloud: connection.Connection, name: str) -> str:
    found = cloud.compute.find_server(name, ignore_missing=False, all_projects=True)
    return str(found.id)


def test_live_migrate_server(cloud: connection.Connection, service: service.Service, idle: str, elsewhere: Elsewhere) -> None:
    source = service.host_of(idle)
    cloud.compute.live_migrate_server(_id(cloud, idle), block_migration="auto")
    assert service.settled(idle)["status"] == "completed"
    assert service.host_of(idle) != source
    wanted = elsewhere(idle)
    cloud.compute.live_migrate_server(_id(cloud, idle), host=wanted, block_migration="auto")
    assert service.settled(idle)["dest_compute"] == wanted


def test_live_migrate_server_with_force_goes_past_the_filters(
    cloud: connection.Connection, service: service.Service, idle: str, elsewhere: Elsewhere
) -> None:
    wanted = elsewhere(idle)
    cloud.compute.live_migrate_server(_id(cloud, idle), host=wanted, force=True, block_migration="auto")
    assert service.settled(idle)["dest_compute"] == wanted


def test_live_migrate_server_pinned_to_an_old_version(identity: dict[str, str], service: service.Service, idle: str) -> None:
    """2.24 wants disk_over_commit, and block_migration to be a boolean."""
    with _connected(identity, compute_default_microversion="2.24") as old:
        old.compute.live_migrate_server(_id(old, idle), block_migration=False, disk_over_commit=False)
    assert service.settled(idle)["status"] == "completed"


def test_a_refusal_is_an_exception_with_the_real_cause(cloud: connection.Connection, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    with pytest.raises(exceptions.BadRequestException, match=f"to current host {source}"):
        cloud.compute.live_migrate_server(_id(cloud, idle), host=source, block_migration="auto")
    assert service.host_of(idle) == source


def test_wait_for_server(cloud: connection.Connection, service: service.Service, idle: str) -> None:
    server_id = _id(cloud, idle)
    before = cloud.compute.get_server(server_id).hypervisor_hostname
    cloud.compute.live_migrate_server(server_id, block_migration="auto")
    # It does not look at all at a server that it knows as ACTIVE.
    waited = cloud.compute.wait_for_server(cloud.compute.get_server(server_id), status="ACTIVE", interval=0.1, wait=20)
    assert waited.hypervisor_hostname != before
    assert service.migration(idle)["status"] == "completed"


def test_server_migrations_get_and_abort(cloud: connection.Connection, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    server_id = _id(cloud, restless)
    listed = list(cloud.compute.server_migrations(server_id))
    assert [(one.id, one.uuid, one.status) for one in listed] == [(record["id"], record["uuid"], "running")]
    got = cloud.compute.get_server_migration(record["id"], server_id)
    assert got.memory_total_bytes == record["memory_total_bytes"]
    cloud.compute.abort_server_migration(got, server_id)
    assert service.settled(restless)["status"] == "cancelled"


def test_force_complete_server_migration(cloud: connection.Connection, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    server_id = _id(cloud, restless)
    cloud.compute.force_complete_server_migration(record["id"], server_id)
    assert service.settled(restless)["status"] == "completed"
    assert service.host_of(restless) == record["dest_compute"]


def test_migrations_and_server_actions(cloud: connection.Connection, service: service.Service, idle: str) -> None:
    server_id = _id(cloud, idle)
    cloud.compute.live_migrate_server(server_id, block_migration="auto")
    record = service.settled(idle)
    assert [one.uuid for one in cloud.compute.migrations(instance_uuid=server_id)] == [record["uuid"]]
    actions = list(cloud.compute.server_actions(server_id))
    assert [action.action for action in actions] == ["live-migration"]
    shown = cloud.compute.get_server_action(actions[0].request_id, server_id)
    assert shown.events[0].event == "compute_post_live_migration_at_destination"


def test_servers_of_all_projects_in_pages(cloud: connection.Connection, service: service.Service) -> None:
    everything = {server["name"] for server in service.get("/servers?all_tenants=1", "2.104")["servers"]}
    assert {server.name for server in cloud.compute.servers(all_projects=True, limit=10)} == everything
    assert {server.name for server in cloud.compute.servers(all_projects=True, compute_host="limited")} == {
        "limited-1",
        "limited-2",
        "limited-3",
    }


def test_services(cloud: connection.Connection, service: service.Service) -> None:
    found = next(one for one in cloud.compute.services() if one.host == "far" and one.binary == "nova-compute")
    try:
        cloud.compute.disable_service(found, disabled_reason="patching")
        assert service.compute_service("far")["status"] == "disabled"
        cloud.compute.enable_service(found)
        assert service.compute_service("far")["status"] == "enabled"
        cloud.compute.update_service_forced_down(found, forced=True)
        assert service.compute_service("far")["state"] == "down"
    finally:
        cloud.compute.update_service_forced_down(found, forced=False)
    assert service.compute_service("far")["state"] == "up"


def test_hypervisors(cloud: connection.Connection) -> None:
    found = list(cloud.compute.hypervisors(details=True))
    assert len(found) == 6
    assert cloud.compute.get_hypervisor(found[0].id).name == found[0].name
    assert cloud.compute.find_hypervisor(found[0].name, ignore_missing=False, details=False).id == found[0].id


def test_own_keys_by_the_librarys_own_request_method(cloud: connection.Connection, service: service.Service, restless: str) -> None:
    """What docs/howto/clients.md says to do for what the library does not know."""
    server_id = _id(cloud, restless)
    answer = cloud.compute.post(
        f"/servers/{server_id}/action",
        json={"os-migrateLive": {"host": None, "block_migration": "auto", "timeout_seconds": 1, "on_timeout": "abort"}},
        microversion="2.1000",
    )
    assert answer.status_code == 202
    record = service.settled(restless)
    assert (record["status"], record["reason"]) == ("cancelled", "deadline")
