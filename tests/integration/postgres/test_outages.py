# SPDX-License-Identifier: Apache-2.0
"""The database goes away under a running cloud and comes back: nothing is lost, and nobody has to do anything.

Away in each way that it can be: stopped (connections are refused), silent (stopped in the middle of everything: connections and answers
never come), cut (every connection is ended again and again while the server goes on), full (it reads, and has no room for what is written).
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from wherry import clock as clocks
from wherry import errors
from wherry.config import database as config_database
from wherry.db.repositories import migrations as migration_records
from wherry.drivers import simulated
from wherry.model import guest, states
from wherry.testing import cloud as clouds
from wherry.testing import invariants, postgres_server

pytestmark = pytest.mark.postgres

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test'"
#: What the server says where its disk is full: tried with a tablespace, and with a cluster, on a file system of a few MiB.
_FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
DO $$ DECLARE one text; BEGIN
  FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON %I EXECUTE FUNCTION no_room()', one);
  END LOOP;
END $$"""
_FREED = "DROP FUNCTION no_room() CASCADE"
#: Conductors give up commanding, hosts seem silent, and every copy ends well within the outage of `make test`.
_LEASE_SECONDS, _DOWN_SECONDS, _BEAT_SECONDS = 1.0, 1.5, 0.5
_LIMIT_SECONDS = 1.0


@contextlib.asynccontextmanager
async def _outage(server: postgres_server.Server, how: str) -> AsyncIterator[None]:
    async def cut() -> None:
        while True:
            server.sql(_CUT)
            await asyncio.sleep(0.1)

    if how == "stopped":
        server.control("stop", "-m", "immediate")
        try:
            yield
        finally:
            server.start()
    elif how == "silent":
        server.signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            server.signal_all(signal.SIGCONT)
    elif how == "full":
        server.sql(_FULL, "test")
        try:
            yield
        finally:
            server.sql(_FREED, "test")
    else:
        cutting = asyncio.create_task(cut())
        try:
            yield
        finally:
            cutting.cancel()
            await asyncio.gather(cutting, return_exceptions=True)


def _world() -> simulated.World:
    """Three guests that take two seconds to copy, one after the other from each host."""
    world = simulated.World()
    shared = world.add_store(simulated.Store("shared"))
    for name in ("h1", "h2", "h3"):
        world.add_host(name, stores={"/shared": shared}, vcpus=64, memory_mib=262_144, link_mib_per_s=1000)
    for number, host in enumerate(("h1", "h1", "h2")):
        disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=f"/shared/g{number}.raw", capacity_bytes=1 << 30)
        world.add_guest(host, f"g{number}", memory_mib=1536, disks=(disk,))
    return world


@contextlib.asynccontextmanager
async def _cloud(
    tmp_path: pathlib.Path,
    config: config_database.DatabaseSection,
    *,
    beat_seconds: float = _BEAT_SECONDS,
    down_seconds: float = _DOWN_SECONDS,
) -> AsyncIterator[clouds.Cloud]:
    overrides: dict[str, dict[str, Any]] = {
        "DEFAULT": {"report_interval_seconds": beat_seconds, "service_down_time_seconds": down_seconds},
        "database": {
            "connection": config.connection,
            "statement_timeout_seconds": _LIMIT_SECONDS,
            "transaction_timeout_seconds": _LIMIT_SECONDS,
            "connect_timeout_seconds": _LIMIT_SECONDS,
            "pool_timeout_seconds": _LIMIT_SECONDS,
        },
        "conductor": {"lease_seconds": _LEASE_SECONDS, "lease_renew_interval_seconds": 0.25, "sweep_interval_seconds": 0.25},
        "agent": {"report_retry_interval_seconds": 0.2, "report_retry_max_seconds": 1.0, "report_timeout_seconds": 2.0},
    }
    async with clouds.Cloud(_world(), tmp_path, clock=clocks.LoopClock(), overrides=overrides) as cloud:
        await cloud.start_conductor()
        yield cloud


async def _statuses(cloud: clouds.Cloud) -> dict[str, states.Status]:
    found = await cloud.store.read(lambda uow: uow.migrations.list(migration_records.MigrationQuery()))
    return {one.instance_uuid: one.status for one in found}


def _sending(cloud: clouds.Cloud, uuids: set[str]) -> set[str]:
    """Give the guests whose copy the hypervisors have not finished, whatever the records say."""
    incoming = {uuid for host in cloud.world.hosts.values() for uuid, local in host.guests.items() if local.is_incoming}
    return uuids & incoming


async def _at_rest(cloud: clouds.Cloud) -> None:
    """Wait for it. A server that was silent for a minute first works off whoever knocked meanwhile, and refuses others for a moment."""
    async with asyncio.timeout(60):
        while True:
            try:
                await invariants.at_rest(cloud, seconds=60)
                return
            except errors.DatabaseUnavailable:
                await asyncio.sleep(0.2)


async def _go_through(cloud: clouds.Cloud, server: postgres_server.Server, how: str, seconds: float) -> list[httpx.Response]:
    """Let the database be away in mid-migration; gives what a client was answered meanwhile."""
    before = invariants.snapshot(cloud.world)
    for number in range(3):
        assert (await cloud.live_migrate(f"g{number}")).status_code == 202

    async def running() -> set[str]:
        return {uuid for uuid, status in (await _statuses(cloud)).items() if status is states.Status.RUNNING}

    moving = await cloud.until(running, seconds=20)
    answers = []
    async with _outage(server, how):
        ends_at = cloud.clock.monotonic() + seconds
        while cloud.clock.monotonic() < ends_at:
            answers.append(await cloud.request("GET", "/v2.1/servers/detail"))
            if how == "full":
                # A second migration would be refused by what can be read.
                answers.append(await cloud.request("POST", f"/v2.1/servers/{cloud.uuid('g0')}/action", json={"lock": None}))
            elif how != "cut":
                answers.append(await cloud.live_migrate("g0"))
            await cloud.clock.sleep(0.3)
        if how != "cut":
            assert not any(one.part.orchestrator.may_command for one in cloud.conductors.values()), "a conductor commands without a lease"
            assert not _sending(cloud, moving), "a copy did not go on without the database"
    await _at_rest(cloud)
    ended = await cloud.store.read(lambda uow: uow.migrations.list(migration_records.MigrationQuery()))
    assert {(one.status, one.reason) for one in ended} == {(states.Status.COMPLETED, None)}
    await invariants.come_to_hold(cloud, before, touched={cloud.uuid(f"g{number}") for number in range(3)}, seconds=30)
    return answers


@pytest.mark.parametrize("how", ["silent", *(pytest.param(how, marks=pytest.mark.slow) for how in ("stopped", "cut", "full"))])
async def test_a_database_that_is_away_for_some_seconds_loses_nothing_and_needs_nobody(
    tmp_path: pathlib.Path, config: config_database.DatabaseSection, postgresql: postgres_server.Server, how: str
) -> None:
    async with _cloud(tmp_path, config) as cloud:
        answers = await _go_through(cloud, postgresql, how, 3.5)
    away = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.headers["Retry-After"] == "1" for answer in away)
    # Between two cuts an answer may get through; a unit of work that was cut is run again. A full disk can be read.
    codes = {answer.status_code for answer in answers}
    assert 503 in codes or how == "cut"
    assert codes <= ({503, 200} if how in ("cut", "full") else {503}), [answer.text for answer in answers]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "silent", "cut"])
async def test_a_minute_without_a_database(
    tmp_path: pathlib.Path, config: config_database.DatabaseSection, postgresql: postgres_server.Server, how: str
) -> None:
    # After a minute of silence the server needs seconds to work off what has piled up, in which signs of life are refused here and there.
    async with _cloud(tmp_path, config, beat_seconds=5.0, down_seconds=15.0) as cloud:
        await _go_through(cloud, postgresql, how, 60.0)
