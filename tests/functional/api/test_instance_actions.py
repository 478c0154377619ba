# SPDX-License-Identifier: Apache-2.0
"""Instance actions over HTTP: fields of each version, who sees what, pages, deleted servers."""

from __future__ import annotations

import hashlib

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import instance_actions as model
from wherry.model import server as server_model

ACTION = {"action", "instance_uuid", "request_id", "user_id", "project_id", "start_time", "message"}
EVENT = {"event", "start_time", "finish_time", "result"}
REQUEST = "req-00000000-0000-4000-8000-00000000000{}"


async def _record(cloud: conftest.Cloud, uuid: str, number: int) -> str:
    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        name = model.ActionName.LIVE_MIGRATION
        request_id = REQUEST.format(number)
        await uow.actions.record(instance_uuid=uuid, request_id=request_id, action=name, user_id="maria", project_id="p1")
        first, second = model.EventName.CONDUCTOR_LIVE_MIGRATE, model.EventName.CHECK_DESTINATION
        await uow.actions.start_event(uuid, request_id, model.EventStart(name=first, host="c1"))
        await uow.actions.start_event(uuid, request_id, model.EventStart(name=second, host="h2"))
        outcome = model.EventOutcome(result=model.Result.ERROR, details="h2 has no avx2", traceback="Traceback of h2")
        await uow.actions.finish_event(uuid, request_id, model.EventFinish(name=second, host="h2", outcome=outcome))

    await cloud.store.run(unit)
    return REQUEST.format(number)


@pytest.mark.parametrize(
    ("version", "token", "action", "event"),
    [
        ("2.1", conftest.ADMIN, ACTION | {"events"}, EVENT | {"traceback"}),
        ("2.1", conftest.READER, ACTION, None),
        ("2.50", conftest.READER, ACTION, None),
        ("2.51", conftest.READER, ACTION | {"events"}, EVENT),
        ("2.51", conftest.ADMIN, ACTION | {"events"}, EVENT | {"traceback"}),
        ("2.58", conftest.READER, ACTION | {"events", "updated_at"}, EVENT),
        ("2.62", conftest.READER, ACTION | {"events", "updated_at"}, EVENT | {"hostId"}),
        ("2.62", conftest.ADMIN, ACTION | {"events", "updated_at"}, EVENT | {"hostId", "host", "traceback"}),
        ("2.84", conftest.READER, ACTION | {"events", "updated_at"}, EVENT | {"hostId"}),
        ("2.84", conftest.ADMIN, ACTION | {"events", "updated_at"}, EVENT | {"hostId", "host", "traceback", "details"}),
        ("2.1000", conftest.ADMIN, ACTION | {"events", "updated_at"}, EVENT | {"hostId", "host", "traceback", "details"}),
    ],
)
async def test_fields_by_version_and_caller(
    cloud: conftest.Cloud, version: str, token: str, action: set[str], event: set[str] | None
) -> None:
    server = await cloud.add_server(1)
    request_id = await _record(cloud, server.uuid, 1)
    path = f"/v2.1/servers/{server.uuid}/os-instance-actions"
    shown = (await cloud.get(f"{path}/{request_id}", version, token=token)).json()["instanceAction"]
    assert set(shown) == action
    assert [set(one) for one in shown.get("events", [])] == ([event, event] if event else [])
    (listed,) = (await cloud.get(path, version, token=token)).json()["instanceActions"]
    assert set(listed) == action - {"events"}
    if token == conftest.READER:
        assert "h2" not in str(shown)


async def test_events_are_newest_first_and_open_ones_have_no_result(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    request_id = await _record(cloud, server.uuid, 1)
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions/{request_id}")).json()["instanceAction"]
    checked, conducted = shown["events"]
    assert (checked["event"], checked["result"], checked["details"]) == (
        "compute_check_can_live_migrate_destination",
        "Error",
        "h2 has no avx2",
    )
    assert checked["hostId"] == hashlib.sha224(b"p1h2").hexdigest()
    assert (conducted["event"], conducted["finish_time"], conducted["result"]) == ("conductor_live_migrate_server", None, None)
    assert shown["message"] == "Error"


async def test_an_unknown_request(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions/req-nothing")
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["message"] == "Action req-nothing not found"


@pytest.mark.parametrize(("version", "code"), [("2.20", 404), ("2.21", 200)])
async def test_a_deleted_servers_story_is_told_from_2_21_on(cloud: conftest.Cloud, version: str, code: int) -> None:
    server = await cloud.add_server(1)
    request_id = await _record(cloud, server.uuid, 1)
    await cloud.update(server.uuid, vm_state=server_model.VmState.DELETED, deleted_at=server.created_at)
    path = f"/v2.1/servers/{server.uuid}/os-instance-actions"
    assert (await cloud.get(path, version)).status_code == code
    assert (await cloud.get(f"{path}/{request_id}", version)).status_code == code


async def test_pages_from_2_58_on(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    ids = [await _record(cloud, server.uuid, number) for number in range(3)]
    path = f"/v2.1/servers/{server.uuid}/os-instance-actions"
    first = (await cloud.get(f"{path}?limit=2")).json()
    assert [one["request_id"] for one in first["instanceActions"]] == [ids[2], ids[1]]
    second = (await cloud.get(first["links"][0]["href"])).json()
    assert [one["request_id"] for one in second["instanceActions"]] == [ids[0]]
    assert "links" not in second
    assert len((await cloud.get(f"{path}?limit=2", "2.57")).json()["instanceActions"]) == 3
    assert (await cloud.get(f"{path}?marker=req-nothing")).status_code == 400
    assert (await cloud.get(f"{path}?changes-since=2999-01-01T00:00:00Z")).json() == {"instanceActions": []}
    query = "changes-since=2999-01-01T00:00:00Z&changes-before=2000-01-01T00:00:00Z"
    assert (await cloud.get(f"{path}?{query}")).status_code == 400


async def test_a_foreign_servers_story_is_nobodys_business(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    assert (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions", token=conftest.FOREIGN_MANAGER)).status_code == 404
