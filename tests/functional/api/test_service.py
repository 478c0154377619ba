# SPDX-License-Identifier: Apache-2.0
"""The API on a real socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.functional.api import conftest
from wherry import config, errors
from wherry.api import service


@contextlib.asynccontextmanager
async def _served(tmp_path: pathlib.Path, empty_database: pathlib.Path, **options: str) -> AsyncIterator[tuple[conftest.Cloud, str]]:
    shutil.copy(empty_database, tmp_path)
    made = await conftest.make_cloud(tmp_path, {"api": {"bind_port": "0", "shutdown_grace_seconds": "2", **options}})
    await made.add_host("h1")
    address = await made.api.start()
    yield made, address
    await made.close()


async def test_it_serves_on_the_port_it_tells_and_leaves_signals_alone(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with _served(tmp_path, empty_database) as (_, address), httpx.AsyncClient(base_url=address) as client:
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
        answer = await client.get("/v2.1/os-services", headers={"X-OpenStack-Nova-API-Version": "2.69"})
        assert answer.json()["services"][0]["host"] == "h1"
        assert answer.headers["x-openstack-nova-api-version"] == "2.69"
        assert "server" not in answer.headers


async def test_answers_on_a_kept_connection_are_not_held_back(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> None:
    """Nagle's algorithm would hold each answer's body back for 40 ms, until the client's system has acknowledged its head."""
    async with _served(tmp_path, empty_database) as (_, address), httpx.AsyncClient(base_url=address) as client:
        seconds = [(await client.get("/v2.1/")).elapsed.total_seconds() for _ in range(20)]
    assert min(seconds[5:]) < 0.03


async def test_stopping_answers_waiting_clients_and_frees_the_port(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> None:
    async with _served(tmp_path, empty_database) as (cloud, address):
        server = await cloud.add_server(1)
        body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        async with httpx.AsyncClient(base_url=address) as client:
            headers = {"X-OpenStack-Nova-API-Version": "2.30", "X-Auth-Token": conftest.ADMIN}
            waiting = asyncio.create_task(client.post(f"/v2.1/servers/{server.uuid}/action", json=body, headers=headers, timeout=10))
            await conftest.until(lambda: cloud.api.parts.waiting.count() > 0, "a waiting client")
            await cloud.api.stop()
            assert (await waiting).status_code == 503
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        await cloud.api.stop()


async def test_an_address_that_is_taken_is_told_of_in_words(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        shutil.copy(empty_database, tmp_path)
        cloud = await conftest.make_cloud(tmp_path, {"api": {"bind_port": port}})
        with pytest.raises(errors.ConfigInvalid, match=f"cannot listen on 127.0.0.1 port {port}") as raised:
            await cloud.api.start()
        assert "port that nothing else listens on" in raised.value.remedy
        await cloud.close()


async def test_noauth_is_not_offered_to_other_machines_unless_the_operator_insists(
    tmp_path: pathlib.Path, empty_database: pathlib.Path
) -> None:
    with pytest.raises(errors.ConfigInvalid):
        config.load([], environ={}, overrides={"api": {"bind_host": "0.0.0.0"}})
    async with _served(tmp_path, empty_database, bind_host="0.0.0.0", allow_unsafe_noauth_bind="true") as (_, address):
        assert address.startswith("http://0.0.0.0:")


async def test_policies_of_the_operators_file_hold_and_are_read_again(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text('"os_compute_api:os-services:list": "role:reader"\n')
    shutil.copy(empty_database, tmp_path)
    cloud = await conftest.make_cloud(tmp_path, {"oslo_policy": {"policy_file": str(rules)}})
    assert (await cloud.get("/v2.1/os-services", token=conftest.READER)).status_code == 200
    rules.write_text("")
    cloud.api.reload(cloud.api.parts.config)
    assert (await cloud.get("/v2.1/os-services", token=conftest.READER)).status_code == 403
    rules.write_text('"no such rule": "@"\n')
    with pytest.raises(errors.ConfigInvalid, match="unknown rules: no such rule"):
        cloud.api.reload(cloud.api.parts.config)
    assert (await cloud.get("/v2.1/os-services")).status_code == 200
    with pytest.raises(errors.ConfigInvalid):
        service.Api(cloud.api.parts.config, cloud.store, cloud.api.parts.rpc)
    await cloud.close()
