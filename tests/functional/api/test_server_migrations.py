# SPDX-License-Identifier: Apache-2.0
"""A server's live migrations over HTTP: what is in progress, what an administrator sees, and aborting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.db.repositories import migrations
from wherry.model import capabilities, migration, operation, progress, states
from wherry.model import server as server_model

E = states.Event
#: What leads from accepted to a status.
WAYS: dict[str, tuple[states.Event, ...]] = {
    "accepted": (),
    "queued": (E.CHECKS_PASSED,),
    "preparing": (E.CHECKS_PASSED, E.ADMITTED),
    "running": (E.CHECKS_PASSED, E.ADMITTED, E.TRANSFER_STARTED),
    "running (post-copy)": (E.CHECKS_PASSED, E.ADMITTED, E.TRANSFER_STARTED, E.POST_COPY_STARTED),
    "completed": (E.CHECKS_PASSED, E.ADMITTED, E.TRANSFER_STARTED, E.ARRIVED),
    "failed": (E.CHECKS_PASSED, E.ADMITTED, E.ROLLED_BACK),
    "cancelled": (E.CHECKS_PASSED, E.ABORTED),
    "error": (E.CHECK_FAILED,),
}
FIELDS = {
    *("id", "created_at", "updated_at", "server_uuid", "status", "source_compute", "source_node", "dest_compute", "dest_node", "dest_host"),
    *("memory_total_bytes", "memory_processed_bytes", "memory_remaining_bytes"),
    *("disk_total_bytes", "disk_processed_bytes", "disk_remaining_bytes"),
}
OWN = {
    *("timeout_seconds", "timeout_seconds_origin", "on_timeout", "on_timeout_origin", "deadline_at"),
    *("reason", "reason_message", "remedy"),
    *("percentage", "iteration", "bytes_per_second", "dirty_bytes_per_second", "expected_downtime_ms", "downtime_ms"),
    *("queue_position", "waits_for"),
    *("seconds_left_low", "seconds_left_high", "started_at", "finished_at"),
}


async def _at(cloud: conftest.Cloud, status: str, **last: Any) -> migration.Migration:
    """Bring a migration of a new server to a status."""
    server = await cloud.add_server(1)
    assert (await cloud.migrate(server.uuid, token=conftest.MANAGER)).status_code == 202
    found, record = await cloud.open_operation(server.uuid)
    ways = WAYS[status]
    for number, event in enumerate(ways, start=1):
        is_last = number == len(ways)
        more = dict(last) if is_last else {}
        if is_last and status in ("completed", "failed", "cancelled", "error"):
            more.setdefault("server", server_model.ServerChange(clear_task=True))
        record = await cloud.advance(found.id, event=event, **more)
    assert record.status.value == status
    return record


def _path(record: migration.Migration, named: object = None) -> str:
    return f"/v2.1/servers/{record.instance_uuid}/migrations" + (f"/{named if named is not None else record.id}")


@pytest.mark.parametrize("status", list(WAYS))
async def test_what_is_in_progress_is_listed_and_shown(cloud: conftest.Cloud, status: str) -> None:
    record = await _at(cloud, status)
    is_shown = status in ("queued", "preparing", "running", "running (post-copy)")
    listed = (await cloud.get(_path(record).rpartition("/")[0])).json()["migrations"]
    assert [one["status"] for one in listed] == ([status] if is_shown else [])
    answer = await cloud.get(_path(record))
    if is_shown:
        assert answer.json()["migration"]["status"] == status
    else:
        assert answer.status_code == 404
        text = f"Live migration {record.id} for server {record.instance_uuid} is not in progress."
        assert answer.json()["itemNotFound"]["message"].startswith(text)
    assert (await cloud.get(_path(record), "2.1000")).json()["migration"]["status"] == status


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("2.23", FIELDS),
        ("2.58", FIELDS),
        ("2.59", FIELDS | {"uuid"}),
        ("2.80", FIELDS | {"uuid", "user_id", "project_id"}),
        ("2.104", FIELDS | {"uuid", "user_id", "project_id"}),
        ("2.1000", FIELDS | OWN | {"uuid", "user_id", "project_id"}),
    ],
)
async def test_each_version_has_its_fields(cloud: conftest.Cloud, version: str, keys: set[str]) -> None:
    record = await _at(cloud, "running")
    assert set((await cloud.get(_path(record), version)).json()["migration"]) == keys
    assert set((await cloud.get(_path(record).rpartition("/")[0], version)).json()["migrations"][0]) == keys


async def test_counters_are_null_until_there_are_some(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running")
    shown = (await cloud.get(_path(record))).json()["migration"]
    assert {shown[key] for key in shown if key.endswith("_bytes")} == {None}
    counters = progress.Progress(memory_total_bytes=100, memory_processed_bytes=130, memory_remaining_bytes=20, disk_total_bytes=7)

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        await uow.migrations.record_progress([migrations.Counted(uuid=record.uuid, host=record.source_compute, counters=counters)])

    await cloud.store.run(unit)
    shown = (await cloud.get(_path(record))).json()["migration"]
    assert (shown["memory_total_bytes"], shown["memory_processed_bytes"], shown["memory_remaining_bytes"]) == (100, 130, 20)
    assert (shown["disk_total_bytes"], shown["disk_remaining_bytes"]) == (7, 0)
    assert (await cloud.get(f"/v2.1/servers/{record.instance_uuid}")).json()["server"]["progress"] == 80


async def _count(cloud: conftest.Cloud, record: migration.Migration, remaining: int, elapsed_ms: int, **more: Any) -> dict[str, Any]:
    counters = progress.Progress(
        memory_total_bytes=1000, memory_processed_bytes=elapsed_ms // 10, memory_remaining_bytes=remaining, elapsed_ms=elapsed_ms, **more
    )

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        await uow.migrations.record_progress([migrations.Counted(uuid=record.uuid, host=record.source_compute, counters=counters)])

    await cloud.store.run(unit)
    return dict((await cloud.get(_path(record), "2.1000")).json()["migration"])


async def test_at_2_1000_the_course_is_told_and_the_percentage_never_falls(cloud: conftest.Cloud) -> None:
    """The guest dirties more than it had left: what remains grows, the percentage stays; a late message changes nothing."""
    record = await _at(cloud, "running")
    first = await _count(cloud, record, 400, 5000)
    assert (first["percentage"], first["bytes_per_second"], first["seconds_left_low"]) == (60, 100, 0)
    second = await _count(cloud, record, 700, 10_000, iteration=2, dirty_bytes_per_second=200, expected_downtime_ms=90)
    assert (second["percentage"], second["memory_remaining_bytes"]) == (60, 700)
    assert (second["iteration"], second["dirty_bytes_per_second"], second["expected_downtime_ms"]) == (2, 200, 90)
    assert (second["seconds_left_low"], second["seconds_left_high"]) == (5, None)
    late = await _count(cloud, record, 100, 7000)
    assert (late["percentage"], late["memory_remaining_bytes"]) == (60, 700)
    below = (await cloud.get(_path(record), "2.104")).json()["migration"]
    assert "percentage" not in below


@pytest.mark.parametrize(("event", "percentage"), [(E.ARRIVED, 100), (E.ROLLED_BACK, 60)])
async def test_the_course_is_kept_for_those_that_have_ended(cloud: conftest.Cloud, event: E, percentage: int) -> None:
    record = await _at(cloud, "running")
    await _count(cloud, record, 400, 5000, iteration=3, downtime_ms=77)
    await cloud.advance(record.uuid, event=event, server=server_model.ServerChange(clear_task=True))
    shown = (await cloud.get(_path(record), "2.1000")).json()["migration"]
    assert (shown["percentage"], shown["iteration"], shown["downtime_ms"], shown["bytes_per_second"]) == (percentage, 3, 77, 100)
    assert (shown["seconds_left_low"], shown["seconds_left_high"]) == (None, None)
    assert shown["finished_at"] is not None


async def test_managers_see_no_hosts_in_the_list_and_may_not_show(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "queued", dest_compute="h2", dest_node="h2.example")
    path = _path(record).rpartition("/")[0]
    hosts = ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")
    (shown,) = (await cloud.get(path, token=conftest.MANAGER)).json()["migrations"]
    assert [shown[name] for name in hosts] == [None] * 5
    (shown,) = (await cloud.get(path)).json()["migrations"]
    assert (shown["source_compute"], shown["dest_compute"], shown["dest_host"]) == ("h1", "h2", None)
    assert (await cloud.get(_path(record), token=conftest.MANAGER)).status_code == 403
    assert (await cloud.get(path, token=conftest.MEMBER)).status_code == 403


async def test_reasons_are_shown_at_2_1000_and_to_managers_without_hosts(cloud: conftest.Cloud) -> None:
    reason = migration.Reason(
        slug="destination_down", message="Compute service of h2 is unavailable at this time.", remedy="Bring back the agent of h2."
    )
    record = await _at(cloud, "queued", reason=reason)
    path = _path(record).rpartition("/")[0]
    (shown,) = (await cloud.get(path, "2.1000")).json()["migrations"]
    assert (shown["reason"], shown["reason_message"], shown["remedy"]) == (reason.slug, reason.message, reason.remedy)
    (shown,) = (await cloud.get(path, "2.1000", token=conftest.MANAGER)).json()["migrations"]
    assert shown["reason"] == "destination_down"
    assert shown["reason_message"] == "Compute service of the host is unavailable at this time."
    assert "h2" not in str(shown)


@pytest.mark.parametrize("named", [999, "nothing", conftest.UUID.format(9), "-1", "99999999999"])
async def test_unknown_migrations(cloud: conftest.Cloud, named: object) -> None:
    record = await _at(cloud, "running")
    shown = await cloud.get(_path(record, named))
    assert shown.status_code == 404
    text = f"In-progress live migration {named} is not found for server {record.instance_uuid}."
    assert shown.json()["itemNotFound"]["message"] == text
    shown = await cloud.get(_path(record, named), "2.1000")
    assert shown.json()["itemNotFound"]["message"] == f"Migration {named} not found for instance {record.instance_uuid}"
    aborted = await cloud.request("DELETE", _path(record, named))
    assert aborted.status_code == 404
    assert aborted.json()["itemNotFound"]["message"] == f"Migration {named} not found for instance {record.instance_uuid}"


async def test_a_migration_of_another_server_is_not_found(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running")
    other = await cloud.add_server(2)
    for named in (record.id, record.uuid):
        path = f"/v2.1/servers/{other.uuid}/migrations/{named}"
        assert (await cloud.get(path)).status_code == 404
        assert (await cloud.request("DELETE", path)).status_code == 404


@pytest.mark.parametrize(
    ("status", "version", "code"),
    [
        ("running", "2.24", 202),
        ("running", "2.104", 202),
        ("queued", "2.24", 400),
        ("queued", "2.64", 400),
        ("queued", "2.65", 202),
        ("preparing", "2.64", 400),
        ("preparing", "2.65", 202),
        ("accepted", "2.104", 400),
        ("running (post-copy)", "2.104", 400),
        ("completed", "2.104", 400),
        ("cancelled", "2.104", 400),
        ("running", "2.23", 404),
    ],
)
async def test_abort_by_status_and_version(cloud: conftest.Cloud, status: str, version: str, code: int) -> None:
    record = await _at(cloud, status)
    cloud.transport.sent.clear()
    answer = await cloud.request("DELETE", _path(record), version, token=conftest.MANAGER)
    assert answer.status_code == code
    if code == 400:
        assert answer.json()["badRequest"]["message"] == (
            f"Migration {record.id} state of instance {record.instance_uuid} is {status}. "
            "Cannot abort live migration while the migration is in this state. "
            f"It must be {'running' if version in ('2.24', '2.64') else 'preparing or queued or running'}."
        )
    assert cloud.transport.sent == (["wherry.conductor.api.api-1.IntentRecorded"] if code == 202 else [])


async def test_an_abort_is_recorded_with_its_202_under_its_own_request_id(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running")
    answer = await cloud.request("DELETE", _path(record, record.uuid), token=conftest.MANAGER)
    assert (answer.status_code, answer.content) == (202, b"")
    request_id = answer.headers["x-openstack-request-id"]

    async def unit(uow: wherry_uow.UnitOfWork) -> list[operation.Intent]:
        return await uow.operations.pending_intents(record.uuid)

    (intent,) = await cloud.store.read(unit)
    assert (intent.kind, intent.request_id) == (operation.IntentKind.ABORT, request_id)
    path = f"/v2.1/servers/{record.instance_uuid}/os-instance-actions/{request_id}"
    assert (await cloud.get(path)).json()["instanceAction"]["action"] == "live_migration_cancel"


@pytest.mark.parametrize(("token", "code"), [(conftest.MEMBER, 403), (conftest.READER, 403), (conftest.FOREIGN_MANAGER, 404)])
async def test_who_may_abort(cloud: conftest.Cloud, token: str, code: int) -> None:
    record = await _at(cloud, "running")
    assert (await cloud.request("DELETE", _path(record), token=token)).status_code == code


async def test_a_lock_holds_managers_and_not_administrators(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running")
    await cloud.update(record.instance_uuid, locked_by="owner")
    assert (await cloud.request("DELETE", _path(record), token=conftest.MANAGER)).status_code == 409
    assert (await cloud.request("DELETE", _path(record))).status_code == 202


async def test_after_a_reset_of_the_server_nothing_is_aborted_and_nothing_recorded(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running")
    await cloud.update(record.instance_uuid, task_state=None)
    answer = await cloud.request("DELETE", _path(record))
    assert answer.status_code == 409

    async def unit(uow: wherry_uow.UnitOfWork) -> list[operation.Intent]:
        return await uow.operations.pending_intents(record.uuid)

    assert await cloud.store.read(unit) == []


async def test_a_driver_that_cannot_abort_is_told_of_before_anything_is_recorded(cloud: conftest.Cloud) -> None:
    await cloud.add_host("h9", capabilities=capabilities.NONE)
    server = await cloud.add_server(1, "h9")
    await cloud.migrate(server.uuid)
    found, record = await cloud.open_operation(server.uuid)
    for event in WAYS["running"]:
        record = await cloud.advance(found.id, event=event)
    answer = await cloud.request("DELETE", _path(record))
    assert answer.status_code == 400
    assert "is not supported by the simulated driver" in answer.json()["badRequest"]["message"]


async def test_unknown_parameters_are_a_400_from_2_102_on(cloud: conftest.Cloud) -> None:
    record = await _at(cloud, "running")
    path = _path(record).rpartition("/")[0] + "?nonsense=1"
    assert (await cloud.get(path, "2.101")).status_code == 200
    assert (await cloud.get(path, "2.102")).status_code == 400


async def test_a_queued_migration_has_its_place_and_what_it_waits_for(cloud: conftest.Cloud) -> None:
    """One may leave a host at a time, and one has left already."""
    running = await _at(cloud, "running", dest_compute="h2")
    server = await cloud.add_server(2)
    assert server.host == running.source_compute
    assert (await cloud.migrate(server.uuid)).status_code == 202
    waiting, _ = await cloud.open_operation(server.uuid)
    await cloud.advance(waiting.id, event=E.CHECKS_PASSED, dest_compute="h2", dest_node="h2.example")
    path = f"/v2.1/servers/{server.uuid}/migrations"
    (shown,) = (await cloud.get(path, "2.1000")).json()["migrations"]
    assert (shown["queue_position"], shown["waits_for"]) == (1, ["outgoing:h1"])
    (shown,) = (await cloud.get(path, "2.1000", token=conftest.MANAGER)).json()["migrations"]
    assert (shown["queue_position"], shown["waits_for"]) == (1, ["outgoing"])
    shown = (await cloud.get(_path(running), "2.1000")).json()["migration"]
    assert (shown["queue_position"], shown["waits_for"]) == (None, None)
