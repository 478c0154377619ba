# SPDX-License-Identifier: Apache-2.0
"""Thousands of clients that wait for checks: what they hold, what they cost the others, and what is left when their API dies.

`python -m benchmarks.waiting` does the same with ten thousand.
"""

from __future__ import annotations

import asyncio
import pathlib
import shutil
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from benchmarks import waiting
from tests.functional.api import conftest
from wherry.model import states

CLIENTS = 2000


async def test_two_thousand_waiting_clients_hold_no_thread_and_no_connection_and_slow_nobody(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with waiting.Crowd(tmp_path) as crowd:
        measured = await crowd.measure(CLIENTS, 100)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(waiting.report(measured)) + "\n")
    assert measured.threads_during == measured.threads_before
    # One query at a time asks for all of them.
    assert measured.connections_waiting == 1
    assert measured.descriptors_during <= measured.descriptors_before + 2
    assert measured.ratio <= waiting.MAX_RATIO
    assert set(measured.codes) == {202}


@pytest.fixture
async def cloud(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> AsyncIterator[conftest.Cloud]:
    """Three hosts and no conductor; the database is a file, which another one opens too."""
    shutil.copy(empty_database, tmp_path)
    made = await conftest.make_cloud(tmp_path)
    for name in ("h1", "h2", "h3"):
        await made.add_host(name)
    yield made
    await made.close()


async def test_when_the_api_dies_under_a_waiting_client_another_one_names_what_it_asked_for(
    cloud: conftest.Cloud, tmp_path: pathlib.Path
) -> None:
    """Two APIs over one database. The first is gone without a word; the client repeats its request to the second."""
    server = await cloud.add_server(1)
    request: asyncio.Task[httpx.Response] = asyncio.create_task(cloud.migrate(server.uuid, "2.30"))
    await conftest.until(lambda: cloud.api.parts.waiting.count() > 0, "a waiting client")
    # As when a process is killed: nothing is answered, nothing more is written.
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    second = await conftest.make_cloud(tmp_path)
    try:
        found, record = await second.open_operation(server.uuid)
        again = await second.migrate(server.uuid, "2.30")
        assert again.status_code == 409
        message = again.json()["conflictingRequest"]["message"]
        assert f"migration {record.id} of request {found.request_id} is accepted" in message
        # Whoever goes on with it, the client finds it under that id.
        await second.advance(found.id, event=states.Event.CHECKS_PASSED)
        path = f"/v2.1/servers/{server.uuid}/os-instance-actions/{found.request_id}"
        assert (await second.get(path)).json()["instanceAction"]["action"] == "live-migration"
        (shown,) = (await second.get(f"/v2.1/servers/{server.uuid}/migrations")).json()["migrations"]
        assert (shown["id"], shown["status"]) == (record.id, "queued")
    finally:
        await second.close()
