# SPDX-License-Identifier: Apache-2.0
"""os-migrateLive below 2.34: the client waits for the checks, and gets the answer from the conductor or, whatever happens, the record."""

from __future__ import annotations

import asyncio
import pathlib
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.functional.api import conftest
from wherry import errors
from wherry.model import migration, states
from wherry.model import server as server_model
from wherry.rpc import messages

VERSION = "2.30"


@pytest.fixture
async def quick(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> AsyncIterator[conftest.Cloud]:
    """A cloud that looks at the record often and gives up after a second."""
    shutil.copy(empty_database, tmp_path)
    options = {"blocking_poll_interval_seconds": "0.05", "blocking_request_timeout_seconds": "1.0"}
    made = await conftest.make_cloud(tmp_path, {"api": options})
    for name in ("h1", "h2"):
        await made.add_host(name)
    yield made
    await made.close()


async def _accepted(cloud: conftest.Cloud, uuid: str) -> str:
    """Wait until the request is recorded and watched, and give its operation's id."""
    await conftest.until(lambda: cloud.api.parts.waiting.count() > 0, "a waiting client")
    return (await cloud.open_operation(uuid))[0].id


def _failed(error: errors.Error) -> migration.Reason:
    return migration.Reason(slug=error.slug, message=error.message, remedy=error.remedy)


async def _answer_with(cloud: conftest.Cloud, answer: messages.ChecksAnswer) -> None:
    async def migrate_server(_sender: str, _message: messages.MigrateServer) -> messages.ChecksAnswer:
        return answer

    await cloud.conduct((messages.MigrateServer, migrate_server))


async def test_the_conductors_word_is_the_fast_way(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await _answer_with(cloud, messages.ChecksAnswer())
    started = time.monotonic()
    answer = await cloud.migrate(server.uuid, VERSION)
    assert (answer.status_code, answer.content) == (202, b"")
    # Less than the interval at which the record is looked at.
    assert time.monotonic() - started < cloud.api.parts.config.api.blocking_poll_interval_seconds
    found, _ = await cloud.open_operation(server.uuid)
    assert isinstance(found.request, migration.LiveMigrationRequest)
    assert (found.request.is_blocking, found.request.microversion) == (True, VERSION)
    assert cloud.transport.sent == ["wherry.conductor.api.api-1.MigrateServer"]
    assert cloud.api.parts.waiting.count() == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.CpuIncompatible(host="h2", detail="avx2 is missing"), 400),
        (errors.NoValidHost(detail="h2 is down."), 400),
        (errors.StorageNotShared(host="h2"), 400),
        (errors.HypervisorUnavailable(host="h2", detail="connection refused"), 400),
        (errors.GuestNotRunning(uuid="u", state="shutdown"), 409),
        (errors.RemoteFailure(detail="KeyError"), 500),
    ],
)
@pytest.mark.parametrize("way", ["conductor", "record"])
async def test_a_failed_check_is_told_with_its_real_cause_by_both_ways(
    quick: conftest.Cloud, error: errors.Error, status: int, way: str
) -> None:
    server = await quick.add_server(1)
    if way == "conductor":
        await _answer_with(quick, messages.ChecksAnswer(error=error.to_wire()))
    request = asyncio.create_task(quick.migrate(server.uuid, VERSION, host="h2"))
    if way == "record":
        operation_id = await _accepted(quick, server.uuid)
        change = server_model.ServerChange(clear_task=True)
        await quick.advance(operation_id, event=states.Event.CHECK_FAILED, reason=_failed(error), server=change)
    answer = await request
    assert answer.status_code == status
    ((_, content),) = answer.json().items()
    assert content["message"].startswith(error.message)
    assert error.remedy in content["message"]


@pytest.mark.parametrize(
    "events",
    [
        (states.Event.CHECKS_PASSED,),
        (states.Event.CHECKS_PASSED, states.Event.ADMITTED, states.Event.TRANSFER_STARTED, states.Event.ARRIVED),
        (states.Event.CHECKS_PASSED, states.Event.ADMITTED, states.Event.ROLLED_BACK),
    ],
)
async def test_without_a_conductors_word_the_record_says_that_the_checks_passed(
    quick: conftest.Cloud, events: tuple[states.Event, ...]
) -> None:
    server = await quick.add_server(1)
    request = asyncio.create_task(quick.migrate(server.uuid, VERSION))
    operation_id = await _accepted(quick, server.uuid)
    for event in events:
        await quick.advance(operation_id, event=event)
    assert (await request).status_code == 202


async def test_a_conductor_that_dies_while_it_is_asked_is_made_up_for_by_the_record(quick: conftest.Cloud) -> None:
    server = await quick.add_server(1)
    asked = asyncio.Event()

    async def never_answer(_sender: str, _message: messages.MigrateServer) -> messages.ChecksAnswer:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    listener = await quick.conduct((messages.MigrateServer, never_answer))
    request = asyncio.create_task(quick.migrate(server.uuid, VERSION))
    await asyncio.wait_for(asked.wait(), 5)
    dying = asyncio.create_task(listener.stop())
    operation_id = await _accepted(quick, server.uuid)
    await quick.advance(operation_id, event=states.Event.CHECKS_PASSED)
    assert (await request).status_code == 202
    await dying


async def test_a_cancelled_migration_is_a_409_with_the_reason(quick: conftest.Cloud) -> None:
    server = await quick.add_server(1)
    request = asyncio.create_task(quick.migrate(server.uuid, VERSION))
    operation_id = await _accepted(quick, server.uuid)
    reason = migration.Reason(slug="requested", message="the server was deleted")
    await quick.advance(operation_id, event=states.Event.ABORTED, reason=reason, server=server_model.ServerChange(clear_task=True))
    answer = await request
    assert answer.status_code == 409
    assert "the server was deleted" in answer.json()["conflictingRequest"]["message"]


async def test_when_the_checks_take_too_long_the_answer_names_the_request_and_the_migration_goes_on(quick: conftest.Cloud) -> None:
    server = await quick.add_server(1)
    started = time.monotonic()
    answer = await quick.migrate(server.uuid, VERSION)
    assert 0.9 < time.monotonic() - started < 3
    assert answer.status_code == 500
    request_id = answer.headers["x-openstack-request-id"]
    assert request_id in answer.json()["computeFault"]["message"]
    found, record = await quick.open_operation(server.uuid)
    assert (found.request_id, record.status) == (request_id, states.Status.ACCEPTED)
    assert quick.api.parts.waiting.count() == 0
    again = await quick.migrate(server.uuid, VERSION)
    assert again.status_code == 409
    assert request_id in again.json()["conflictingRequest"]["message"]


async def test_many_waiting_clients_are_one_query_an_interval(quick: conftest.Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [await quick.add_server(number) for number in range(8)]
    reads: list[float] = []
    read = quick.store.read

    async def counting(unit: object) -> object:
        reads.append(time.monotonic())
        return await read(unit)  # type: ignore[arg-type]  # counted, not looked at

    monkeypatch.setattr(quick.store, "read", counting)
    requests = [asyncio.create_task(quick.migrate(server.uuid, VERSION)) for server in servers]
    started = time.monotonic()
    await conftest.until(lambda: quick.api.parts.waiting.count() == len(servers), "all clients waiting")
    await asyncio.sleep(0.3)
    looked = len(reads)
    elapsed = time.monotonic() - started
    assert 1 <= looked <= elapsed / 0.05 + 1
    for server in servers:
        await quick.advance((await quick.open_operation(server.uuid))[0].id, event=states.Event.CHECKS_PASSED)
    assert {(await request).status_code for request in requests} == {202}


async def test_stopping_sends_waiting_clients_home_and_keeps_their_migrations(quick: conftest.Cloud) -> None:
    server = await quick.add_server(1)
    request: asyncio.Task[httpx.Response] = asyncio.create_task(quick.migrate(server.uuid, VERSION))
    await _accepted(quick, server.uuid)
    await quick.api.stop()
    answer = await request
    assert answer.status_code == 503
    assert answer.headers["x-openstack-request-id"] in answer.json()["serviceUnavailable"]["message"]
    assert (await quick.open_operation(server.uuid))[1].status is states.Status.ACCEPTED
    late = await quick.add_server(2)
    assert (await quick.migrate(late.uuid, VERSION)).status_code == 503
    assert quick.api.parts.waiting.count() == 0


@pytest.mark.parametrize(
    ("version", "body", "expected"),
    [
        (
            "2.1",
            {"host": "h2", "disk_over_commit": True},
            {"host": "h2", "force": True, "block_migration": False, "disk_over_commit": True},
        ),
        ("2.24", {"disk_over_commit": "no"}, {"host": None, "force": False, "disk_over_commit": False}),
        ("2.29", {"host": "h2"}, {"host": "h2", "force": True, "block_migration": None, "disk_over_commit": None}),
        ("2.30", {"host": "h2"}, {"host": "h2", "force": False}),
        ("2.33", {"host": "h2", "force": True}, {"host": "h2", "force": True}),
    ],
)
async def test_the_older_bodies_mean_what_they_meant(
    cloud: conftest.Cloud, version: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    server = await cloud.add_server(1)
    await _answer_with(cloud, messages.ChecksAnswer())
    assert (await cloud.migrate(server.uuid, version, **body)).status_code == 202
    found, _ = await cloud.open_operation(server.uuid)
    assert {name: getattr(found.request, name) for name in expected} == expected
    assert isinstance(found.request, migration.LiveMigrationRequest) and found.request.is_blocking
