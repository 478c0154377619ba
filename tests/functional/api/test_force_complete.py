# SPDX-License-Identifier: Apache-2.0
"""POST …/migrations/{id}/action {"force_complete": null} over HTTP: what is recorded, and each refusal with Nova's code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import capabilities, migration, operation, states
from wherry.model import server as server_model

E = states.Event
WAYS: dict[str, tuple[states.Event, ...]] = {
    "accepted": (),
    "queued": (E.CHECKS_PASSED,),
    "preparing": (E.CHECKS_PASSED, E.ADMITTED),
    "running": (E.CHECKS_PASSED, E.ADMITTED, E.TRANSFER_STARTED),
    "running (post-copy)": (E.CHECKS_PASSED, E.ADMITTED, E.TRANSFER_STARTED, E.POST_COPY_STARTED),
    "completed": (E.CHECKS_PASSED, E.ADMITTED, E.TRANSFER_STARTED, E.ARRIVED),
}
ABLE = capabilities.DriverCapabilities(live_migration=True, abort=True, force_complete_by_pause=True)


async def _at(cloud: conftest.Cloud, status: str, able: capabilities.DriverCapabilities = ABLE, **server: Any) -> migration.Migration:
    await cloud.add_host("h9", capabilities=able)
    made = await cloud.add_server(1, "h9", **server)
    await cloud.migrate(made.uuid)
    found, record = await cloud.open_operation(made.uuid)
    for event in WAYS[status]:
        record = await cloud.advance(found.id, event=event)
    cloud.transport.sent.clear()
    return record


async def _force(
    cloud: conftest.Cloud, record: migration.Migration, version: str = "2.80", *, named: object = None, value: Any = None, token: str = ""
) -> Any:
    path = f"/v2.1/servers/{record.instance_uuid}/migrations/{record.id if named is None else named}/action"
    return await cloud.request("POST", path, version, token=token or conftest.MANAGER, json={"force_complete": value})


async def _intents(cloud: conftest.Cloud, record: migration.Migration) -> list[operation.Intent]:
    async def unit(uow: wherry_uow.UnitOfWork) -> list[operation.Intent]:
        return await uow.operations.pending_intents(record.uuid)

    return await cloud.store.read(unit)


@pytest.mark.parametrize("by_uuid", [False, True])
async def test_it_is_recorded_with_its_202_under_its_own_request_id(cloud: conftest.Cloud, by_uuid: bool) -> None:
    record = await _at(cloud, "running")
    answer = await _force(cloud, record, named=record.uuid if by_uuid else None)
    assert (answer.status_code, answer.content) == (202, b"")
    request_id = answer.headers["x-openstack-request-id"]
    (intent,) = await _intents(cloud, record)
    assert (intent.kind, intent.request_id) == (operation.IntentKind.FORCE_COMPLETE, request_id)
    path = f"/v2.1/servers/{record.instance_uuid}/os-instance-actions/{request_id}"
    assert (await cloud.get(path)).json()["instanceAction"]["action"] == "live_migration_force_complete"
    assert cloud.transport.sent == ["wherry.conductor.api.api-1.IntentRecorded"]


@pytest.mark.parametrize(
    ("status", "version", "code"),
    [
        ("running", "2.22", 202),
        ("running", "2.21", 404),
        ("accepted", "2.80", 400),
        ("queued", "2.80", 400),
        ("preparing", "2.80", 400),
        ("running (post-copy)", "2.80", 400),
        ("completed", "2.80", 400),
    ],
)
async def test_by_status_and_version(cloud: conftest.Cloud, status: str, version: str, code: int) -> None:
    record = await _at(cloud, status)
    answer = await _force(cloud, record, version)
    assert answer.status_code == code
    if code == 400:
        assert answer.json()["badRequest"]["message"] == (
            f"Migration {record.id} state of instance {record.instance_uuid} is {status}. "
            "Cannot force complete while the migration is in this state. It must be running."
        )
    assert len(await _intents(cloud, record)) == (code == 202)
    assert len(cloud.transport.sent) == (code == 202)


@pytest.mark.parametrize("value", ["null", {}, 0, False, []])
async def test_anything_but_null_is_a_400(cloud: conftest.Cloud, value: Any) -> None:
    record = await _at(cloud, "running")
    assert (await _force(cloud, record, value=value)).status_code == 400
    assert await _intents(cloud, record) == []


@pytest.mark.parametrize("named", [999, "nothing", conftest.UUID.format(9)])
async def test_an_unknown_migration_is_a_400_and_an_unknown_server_a_404(cloud: conftest.Cloud, named: object) -> None:
    record = await _at(cloud, "running")
    answer = await _force(cloud, record, named=named)
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"] == f"Migration {named} not found for instance {record.instance_uuid}"
    path = f"/v2.1/servers/{conftest.UUID.format(8)}/migrations/{record.id}/action"
    assert (await cloud.request("POST", path, json={"force_complete": None})).status_code == 404


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"locked_by": "owner"}, "is locked"),
        ({"vm_state": server_model.VmState.PAUSED}, "in vm_state paused"),
        ({"task_state": None}, "now: its state was reset, which aborts its migration 1. Send it while a live migration"),
    ],
)
async def test_states_in_which_nothing_can_be_forced_are_a_409(cloud: conftest.Cloud, change: dict[str, Any], text: str) -> None:
    record = await _at(cloud, "running")
    await cloud.update(record.instance_uuid, **change)
    answer = await _force(cloud, record)
    assert answer.status_code == 409
    assert text in answer.json()["conflictingRequest"]["message"]
    assert await _intents(cloud, record) == []


async def test_one_that_has_ended_is_named_with_its_status(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "completed")
    await cloud.update(record.instance_uuid, task_state=None)
    for named, what in (
        (record.id, "its migration 1 is completed"),
        (record.uuid, "its migration 1 is completed"),
        (9, "it is not being migrated"),
    ):
        answer = await _force(cloud, record, named=named)
        assert answer.status_code == 409
        assert f"Cannot 'force_complete' instance {record.instance_uuid} now: {what}." in answer.json()["conflictingRequest"]["message"]


@pytest.mark.parametrize(("token", "code"), [(conftest.MEMBER, 403), (conftest.FOREIGN_MANAGER, 404), (conftest.ADMIN, 202)])
async def test_who_may_not_force_completion_is_refused(cloud: conftest.Cloud, token: str, code: int) -> None:
    assert (await _force(cloud, await _at(cloud, "running"), token=token)).status_code == code


async def test_a_driver_that_can_do_neither_is_told_of_before_anything_is_recorded(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running", capabilities.DriverCapabilities(live_migration=True, abort=True))
    answer = await _force(cloud, record)
    assert answer.status_code == 400
    assert "is not supported by the simulated driver" in answer.json()["badRequest"]["message"]
    assert await _intents(cloud, record) == []
