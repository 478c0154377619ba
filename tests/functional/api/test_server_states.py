# SPDX-License-Identifier: Apache-2.0
"""lock, unlock and os-resetState over HTTP: the record, the actions, and what a reset means for a migration under way."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import operation, states
from wherry.model import server as server_model


async def _act(
    cloud: conftest.Cloud, uuid: str, action: str, value: Any = None, version: str = "2.104", *, token: str = ""
) -> httpx.Response:
    path = f"/v2.1/servers/{uuid}/action"
    return await cloud.request("POST", path, version, token=token or conftest.ADMIN, json={action: value})


async def _intents(cloud: conftest.Cloud, operation_id: str) -> list[operation.Intent]:
    async def unit(uow: wherry_uow.UnitOfWork) -> list[operation.Intent]:
        return await uow.operations.pending_intents(operation_id)

    return await cloud.store.read(unit)


@pytest.mark.parametrize(
    ("version", "value", "code", "reason"),
    [
        ("2.1", None, 202, None),
        ("2.72", {"anything": 1}, 202, None),
        ("2.73", None, 202, None),
        ("2.73", {}, 202, None),
        ("2.73", {"locked_reason": "audit"}, 202, "audit"),
        ("2.73", {"locked_reason": ""}, 400, None),
        ("2.73", {"locked_reason": "x" * 256}, 400, None),
        ("2.73", {"anything": 1}, 400, None),
        ("2.73", "now", 400, None),
    ],
)
async def test_lock_by_version(cloud: conftest.Cloud, version: str, value: Any, code: int, reason: str | None) -> None:
    server = await cloud.add_server(1)
    answer = await _act(cloud, server.uuid, "lock", value, version, token=conftest.MEMBER)
    assert answer.status_code == code
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    assert (shown["locked"], shown["locked_reason"]) == (code == 202, reason)


async def test_lock_and_unlock_are_actions_with_their_event(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    for action in ("lock", "unlock"):
        answer = await _act(cloud, server.uuid, action, token=conftest.MEMBER)
        path = f"/v2.1/servers/{server.uuid}/os-instance-actions/{answer.headers['x-openstack-request-id']}"
        shown = (await cloud.get(path)).json()["instanceAction"]
        (event,) = shown["events"]
        assert (shown["action"], event["event"], event["result"]) == (action, f"api_{action}", "Success")
        assert event["finish_time"] is not None


@pytest.mark.parametrize(
    ("locked_by", "locker", "kept"),
    [("owner", conftest.MEMBER, "owner"), ("admin", conftest.MEMBER, "admin"), ("owner", "admin:p9", "admin"), (None, "admin:p9", "admin")],
)
async def test_an_owners_lock_over_another_changes_nothing(cloud: conftest.Cloud, locked_by: str | None, locker: str, kept: str) -> None:
    server = await cloud.add_server(1)
    await cloud.update(server.uuid, locked_by=locked_by)
    assert (await _act(cloud, server.uuid, "lock", token=locker)).status_code == 202
    assert (await cloud.server(server.uuid)).locked_by == kept


@pytest.mark.parametrize(
    ("locked_by", "token", "code"),
    [
        ("owner", conftest.MEMBER, 202),
        ("admin", conftest.MEMBER, 403),
        ("admin", conftest.MANAGER, 403),
        ("owner", "admin:p9", 202),
        ("admin", "admin:p9", 202),
        (None, conftest.MEMBER, 202),
        ("owner", conftest.READER, 403),
        ("owner", conftest.FOREIGN_MANAGER, 404),
    ],
)
async def test_who_may_unlock_what(cloud: conftest.Cloud, locked_by: str | None, token: str, code: int) -> None:
    server = await cloud.add_server(1)
    await cloud.update(server.uuid, locked_by=locked_by, locked_reason="audit")
    answer = await _act(cloud, server.uuid, "unlock", token=token)
    assert answer.status_code == code
    if token == conftest.MEMBER and code == 403:
        assert "unlock:unlock_override" in answer.text
    found = await cloud.server(server.uuid)
    assert (found.locked_by, found.locked_reason) == ((None, None) if code == 202 else (locked_by, "audit"))


async def test_a_lock_during_a_migration_holds_and_hinders_nothing(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await cloud.migrate(server.uuid)
    found, _ = await cloud.open_operation(server.uuid)
    assert (await _act(cloud, server.uuid, "lock", token=conftest.MEMBER)).status_code == 202
    record = await cloud.advance(found.id, event=states.Event.CHECKS_PASSED, server=server_model.ServerChange(progress=1))
    assert record.status is states.Status.QUEUED
    assert (await cloud.server(server.uuid)).locked_by == "owner"


@pytest.mark.parametrize(("state", "status"), [("active", "ACTIVE"), ("error", "ERROR")])
async def test_a_reset_frees_the_server_and_wants_its_migration_aborted(cloud: conftest.Cloud, state: str, status: str) -> None:
    server = await cloud.add_server(1)
    await cloud.migrate(server.uuid)
    found, record = await cloud.open_operation(server.uuid)
    cloud.transport.sent.clear()
    answer = await _act(cloud, server.uuid, "os-resetState", {"state": state})
    assert (answer.status_code, answer.content) == (202, b"")
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == (status, None)
    (intent,) = await _intents(cloud, found.id)
    assert (intent.kind, intent.request_id) == (operation.IntentKind.ABORT, answer.headers["x-openstack-request-id"])
    assert cloud.transport.sent == ["wherry.conductor.api.api-1.IntentRecorded"]
    actions = (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions")).json()["instanceActions"]
    assert [action["action"] for action in actions] == ["resetState", "live-migration"]
    # The migration has not ended, so the server takes no other; the answer names it.
    again = await cloud.migrate(server.uuid)
    assert again.status_code == 409
    if state == "active":
        assert f"migration {record.id} of request {found.request_id}" in again.text


async def test_a_reset_without_a_migration_changes_the_record_only(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState.ERROR, reason="two_hosts")
    assert (await _act(cloud, server.uuid, "os-resetState", {"state": "active"})).status_code == 202
    found = await cloud.server(server.uuid)
    assert (found.vm_state, found.reason) == (server_model.VmState.ACTIVE, None)
    assert cloud.transport.sent == []


@pytest.mark.parametrize("value", [None, {}, {"state": "paused"}, {"state": "active", "x": 1}, {"state": ["active"]}])
async def test_resets_that_are_refused(cloud: conftest.Cloud, value: Any) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState.PAUSED)
    assert (await _act(cloud, server.uuid, "os-resetState", value)).status_code == 400
    assert (await cloud.server(server.uuid)).vm_state is server_model.VmState.PAUSED


@pytest.mark.parametrize(("token", "code"), [(conftest.MANAGER, 403), (conftest.FOREIGN_MANAGER, 404)])
async def test_resets_are_the_administrators(cloud: conftest.Cloud, token: str, code: int) -> None:
    server = await cloud.add_server(1)
    assert (await _act(cloud, server.uuid, "os-resetState", {"state": "error"}, token=token)).status_code == code
