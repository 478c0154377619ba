# SPDX-License-Identifier: Apache-2.0
"""novaclient as a library, with nothing to log in to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from keystoneauth1 import noauth, session, token_endpoint

from tests.clients import running, service

Elsewhere = Callable[[str], str]


def _client(service: service.Service, auth: Any, version: str = "2.96") -> Any:
    return running.novaclient(version, session.Session(auth=auth))


@pytest.fixture(params=["noauth", "token"])
def client(request: pytest.FixtureRequest, service: service.Service) -> Any:
    """A client of either way to do without identity."""
    if request.param == "noauth":
        return _client(service, noauth.NoAuth(endpoint=service.compute))
    return _client(service, token_endpoint.Token(service.compute, "admin:admin"))


def test_live_migrate_wait_and_read_back(client: Any, service: service.Service, idle: str, elsewhere: Elsewhere) -> None:
    wanted = elsewhere(idle)
    server = client.servers.find(name=idle)
    server.live_migrate(host=wanted, block_migration="auto")
    record = service.settled(idle)
    assert (record["status"], record["dest_compute"]) == ("completed", wanted)
    assert [one.uuid for one in client.migrations.list(instance_uuid=server.id)] == [record["uuid"]]
    assert [one.action for one in client.instance_action.list(server)] == ["live-migration"]


def test_abort(client: Any, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    assert [one.uuid for one in client.server_migrations.list(record["server_uuid"])] == [record["uuid"]]
    client.server_migrations.live_migration_abort(record["server_uuid"], record["id"])
    assert service.settled(restless)["status"] == "cancelled"
    assert service.host_of(restless) == record["source_compute"]


def test_force_complete(client: Any, service: service.Service, restless: str) -> None:
    record = service.start_migration(restless)
    client.server_migrations.live_migrate_force_complete(record["server_uuid"], record["id"])
    assert service.settled(restless)["status"] == "completed"
    assert service.host_of(restless) == record["dest_compute"]


def test_own_keys_by_the_librarys_own_request_method(service: service.Service, restless: str) -> None:
    """What docs/howto/clients.md says to do for what the library does not know."""
    client = _client(service, noauth.NoAuth(endpoint=service.compute))
    # What it makes itself stays at 2.96, the newest that it knows.
    client.client.api_version = running.nova_version("2.1000")
    answer, _ = client.client.post(
        f"/servers/{service.id_of(restless)}/action",
        body={"os-migrateLive": {"host": None, "block_migration": "auto", "timeout_seconds": 1, "on_timeout": "abort"}},
    )
    assert answer.status_code == 202
    record = service.settled(restless)
    assert (record["status"], record["reason"]) == ("cancelled", "deadline")
