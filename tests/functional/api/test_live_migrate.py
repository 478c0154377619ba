# SPDX-License-Identifier: Apache-2.0
"""os-migrateLive from 2.34 on: what it records, what it refuses and in which order, and that it asks nobody before it answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import deadline, instance_actions, migration, operation, states
from wherry.model import server as server_model


async def test_a_202_is_empty_and_everything_is_recorded_when_it_leaves(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.migrate(server.uuid, "2.34", token=conftest.MANAGER)
    assert (answer.status_code, answer.content) == (202, b"")
    request_id = answer.headers["x-openstack-request-id"]

    assert (await cloud.server(server.uuid)).task_state is server_model.TaskState.MIGRATING
    found, record = await cloud.open_operation(server.uuid)
    assert (record.status, record.source_compute, record.dest_compute) == (states.Status.ACCEPTED, "h1", None)
    assert (found.step, found.request_id, found.user_id, found.project_id) == (
        operation.StepName.SELECT_DESTINATION,
        request_id,
        "maria",
        "p1",
    )
    action = (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions/{request_id}")).json()["instanceAction"]
    assert (action["action"], action["user_id"], action["message"], action["events"]) == ("live-migration", "maria", None, [])
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"], shown["progress"]) == ("MIGRATING", "migrating", 0)


async def test_nothing_but_a_nudge_to_a_conductor_leaves_before_the_answer(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.migrate(server.uuid, "2.34", host="h2")
    assert answer.status_code == 202
    assert cloud.transport.sent == ["wherry.conductor.api.api-1.LiveMigrateServer"]


async def test_a_nudge_that_cannot_be_sent_takes_nothing_back(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await cloud.transport.close()
    assert (await cloud.migrate(server.uuid)).status_code == 202
    _, record = await cloud.open_operation(server.uuid)
    assert record.status is states.Status.ACCEPTED


@pytest.mark.parametrize(
    ("version", "body", "expected"),
    [
        ("2.34", {}, {"host": None, "force": False, "block_migration": None}),
        ("2.34", {"block_migration": "False"}, {"block_migration": False}),
        ("2.34", {"host": "h2", "block_migration": True}, {"host": "h2", "force": False, "block_migration": True}),
        ("2.67", {"host": "h2", "force": "yes"}, {"host": "h2", "force": True}),
        ("2.104", {"host": "h2"}, {"host": "h2", "force": False, "timeout_seconds": None, "on_timeout": None}),
        ("2.1000", {"timeout_seconds": 0}, {"timeout_seconds": 0, "on_timeout": None}),
        (
            "2.1000",
            {"timeout_seconds": 300, "on_timeout": "force_complete"},
            {"timeout_seconds": 300, "on_timeout": deadline.TimeoutAction.FORCE_COMPLETE},
        ),
    ],
)
async def test_the_row_holds_the_whole_request(cloud: conftest.Cloud, version: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    server = await cloud.add_server(1)
    assert (await cloud.migrate(server.uuid, version, **body)).status_code == 202
    found, _ = await cloud.open_operation(server.uuid)
    assert {name: getattr(found.request, name) for name in expected} == expected
    assert isinstance(found.request, migration.LiveMigrationRequest)
    assert (found.request.is_blocking, found.request.microversion) == (False, version)


async def test_a_body_of_another_version_is_refused_before_the_server_is_looked_for(cloud: conftest.Cloud) -> None:
    answer = await cloud.migrate(conftest.UUID.format(9), "2.68", force=True)
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"].endswith("('force' was unexpected). 'force' is not known from microversion 2.68 on.")


@pytest.mark.parametrize("uuid", [conftest.UUID.format(9), "7", "server-1", "x" * 300, "%00"])
async def test_an_unknown_server_is_a_404_to_everybody(cloud: conftest.Cloud, uuid: str) -> None:
    for token in (conftest.ADMIN, conftest.READER):
        answer = await cloud.migrate(uuid, token=token)
        assert (answer.status_code, next(iter(answer.json()))) == (404, "itemNotFound")


async def test_a_foreign_server_is_a_404_to_all_but_administrators(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.migrate(server.uuid, token=conftest.FOREIGN_MANAGER)
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["message"] == f"Instance {server.uuid} could not be found."
    assert (await cloud.migrate(server.uuid, token="admin:p2")).status_code == 202


@pytest.mark.parametrize("token", [conftest.MEMBER, conftest.READER])
async def test_who_does_not_manage_the_project_gets_a_403_whatever_the_servers_state(cloud: conftest.Cloud, token: str) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState.STOPPED)
    answer = await cloud.migrate(server.uuid, token=token)
    assert answer.status_code == 403
    rule = "os_compute_api:os-migrate-server:migrate_live"
    assert answer.json()["forbidden"]["message"] == f"Policy doesn't allow {rule} to be performed."


async def test_only_administrators_name_a_host(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.migrate(server.uuid, token=conftest.MANAGER, host="h2")
    assert answer.status_code == 403
    assert "os-migrate-server:migrate_live:host" in answer.json()["forbidden"]["message"]


async def test_force_needs_a_host(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    answer = await cloud.migrate(server.uuid, "2.34", force=True)
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"].startswith("Can't force to a non-provided destination")
    assert (await cloud.server(server.uuid)).task_state is None


@pytest.mark.parametrize("version", ["2.1", "2.30", "2.34", "2.104"])
async def test_an_unknown_host_is_a_400_at_once_and_changes_nothing(cloud: conftest.Cloud, version: str) -> None:
    server = await cloud.add_server(1)
    more: dict[str, Any] = {"disk_over_commit": False} if version == "2.1" else {}
    answer = await cloud.migrate(server.uuid, version, host="h9", **more)
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"].startswith("Compute host h9 could not be found.")
    assert (await cloud.server(server.uuid)).task_state is None
    assert cloud.transport.sent == []
    assert (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions")).json()["instanceActions"] == []


@pytest.mark.parametrize("vm_state", ["suspended", "stopped", "error", "building"])
async def test_a_server_in_another_state_is_a_409_before_the_host_is_a_400(cloud: conftest.Cloud, vm_state: str) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState(vm_state))
    answer = await cloud.migrate(server.uuid, host="h9")
    assert answer.status_code == 409
    assert answer.json()["conflictingRequest"]["message"] == (
        f"Cannot 'os-migrateLive' instance {server.uuid} while it is in vm_state {vm_state}. It must be active or paused."
    )


async def test_a_paused_server_may_go(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState.PAUSED)
    assert (await cloud.migrate(server.uuid)).status_code == 202
    assert (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]["status"] == "MIGRATING"


async def test_a_lock_holds_managers_and_not_administrators_and_comes_before_the_state(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, vm_state=server_model.VmState.STOPPED)
    await cloud.update(server.uuid, locked_by="owner")
    answer = await cloud.migrate(server.uuid, token=conftest.MANAGER)
    assert answer.status_code == 409
    assert answer.json()["conflictingRequest"]["message"].startswith(f"Instance {server.uuid} is locked. Unlock it")
    assert "vm_state" in (await cloud.migrate(server.uuid)).json()["conflictingRequest"]["message"]
    await cloud.update(server.uuid, vm_state=server_model.VmState.ACTIVE)
    assert (await cloud.migrate(server.uuid)).status_code == 202


async def test_a_second_request_is_a_409_that_names_the_first(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    first = await cloud.migrate(server.uuid)
    second = await cloud.migrate(server.uuid, host="h9")
    assert second.status_code == 409
    message = second.json()["conflictingRequest"]["message"]
    _, record = await cloud.open_operation(server.uuid)
    assert message.startswith(f"Cannot 'os-migrateLive' instance {server.uuid} while it is in task_state migrating")
    assert f"migration {record.id} " in message and first.headers["x-openstack-request-id"] in message
    actions = (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions")).json()["instanceActions"]
    assert [action["request_id"] for action in actions] == [first.headers["x-openstack-request-id"]]


async def test_a_server_that_nobody_runs_cannot_move(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, host=None)
    answer = await cloud.migrate(server.uuid)
    assert answer.status_code == 409
    assert "host None" in answer.json()["conflictingRequest"]["message"]


async def test_at_2_1000_the_deadline_is_shown_with_where_it_comes_from(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await cloud.migrate(server.uuid, "2.1000", timeout_seconds=300)
    found, record = await cloud.open_operation(server.uuid)
    path = f"/v2.1/servers/{server.uuid}/migrations/{record.id}"
    shown = (await cloud.get(path, "2.1000")).json()["migration"]
    fields = ("timeout_seconds", "timeout_seconds_origin", "on_timeout", "on_timeout_origin", "deadline_at")
    assert tuple(shown[name] for name in fields) == (300, "request", None, None, None)

    await cloud.advance(found.id, event=states.Event.CHECKS_PASSED)
    effective = deadline.Deadline(
        timeout_seconds=300,
        timeout_origin=deadline.Origin.REQUEST,
        on_timeout=deadline.TimeoutAction.ABORT,
        on_timeout_origin=deadline.Origin.CONFIGURATION,
    )
    await cloud.advance(found.id, event=states.Event.ADMITTED)
    await cloud.advance(found.id, event=states.Event.TRANSFER_STARTED, deadline=effective, deadline_at=record.created_at)
    shown = (await cloud.get(path, "2.1000")).json()["migration"]
    assert tuple(shown[name] for name in fields[:4]) == (300, "request", "abort", "configuration")
    assert shown["deadline_at"] == record.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f")
    assert not set(fields) & set((await cloud.get(path, "2.104")).json()["migration"])


async def test_two_requests_at_once_record_one_migration(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)

    async def unit(uow: wherry_uow.UnitOfWork) -> list[migration.Migration]:
        return await uow.migrations.in_progress_of(server.uuid)

    answers = [await cloud.migrate(server.uuid) for _ in range(5)]
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert len(await cloud.store.read(unit)) == 1


async def test_the_event_of_an_ended_action_is_found_by_the_202s_request_id(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    request_id = (await cloud.migrate(server.uuid)).headers["x-compute-request-id"]
    found, _ = await cloud.open_operation(server.uuid)
    outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="no host fits", traceback="Traceback …")
    name = instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE
    await cloud.advance(found.id, started=(instance_actions.EventStart(name=name, host="c1"),))
    await cloud.advance(
        found.id,
        event=states.Event.CHECK_FAILED,
        finished=(instance_actions.EventFinish(name=name, host="c1", outcome=outcome),),
        server=server_model.ServerChange(clear_task=True),
    )
    path = f"/v2.1/servers/{server.uuid}/os-instance-actions/{request_id}"
    shown = (await cloud.get(path)).json()["instanceAction"]
    assert shown["message"] == "Error"
    (event,) = shown["events"]
    assert (event["event"], event["result"], event["host"], event["details"]) == (
        "conductor_live_migrate_server",
        "Error",
        "c1",
        "no host fits",
    )
