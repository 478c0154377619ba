# SPDX-License-Identifier: Apache-2.0
"""Live or ready: what each process says while database or bus are away, at its start and later; and which starts are refused."""

from __future__ import annotations

import json
import pathlib

import httpx
import pytest

from tests.integration.processes import conftest
from wherry.testing import fleet as fleets
from wherry.testing import postgres_server

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


def _until_lacking(one: fleets.Program, what: str) -> None:
    fleets.until(lambda: what in one.lacks(), f"{one.name} to lack {what}")


def test_every_process_says_that_the_bus_is_away_and_that_it_is_back(site: conftest.Site) -> None:
    programs = list(site.fleet.programs())
    assert [one.lacks() for one in programs] == [[]] * len(programs)
    site.fleet.nats.kill()
    for one in programs:
        _until_lacking(one, "bus")
        assert one.probe("/healthz/live")[0] == 200
    # Reading needs no bus.
    assert site.request("GET", "/servers").status_code == 200
    site.fleet.nats.start()
    for one in programs:
        one.wait_ready()


def test_every_process_with_a_database_says_that_it_is_away(site: conftest.Site) -> None:
    conductor, api = site.fleet.conductors[0], site.fleet.apis[0]
    site.fleet.postgres.crash()
    for one in (conductor, api):
        _until_lacking(one, "database")
        assert one.probe("/healthz/live")[0] == 200
    assert site.request("GET", "/servers").status_code == 503
    site.fleet.postgres.start()
    for one in site.fleet.programs():
        one.wait_ready()
    assert site.request("GET", "/servers").status_code == 200


def _options(bus: str, connection: str, directory: pathlib.Path) -> dict[str, dict[str, object]]:
    return {
        "DEFAULT": {"state_path": directory, "start_retry_initial_seconds": 0.1, "start_retry_max_seconds": 0.2},
        "bus": {"transport_url": bus},
        "database": {"connection": connection},
        "api": {"bind_port": fleets.free_port()},
    }


def test_an_api_that_starts_before_its_database_waits_for_it(postgresql: postgres_server.Server, tmp_path: pathlib.Path) -> None:
    with (
        fleets.Nats(tmp_path) as nats,
        fleets.Program("api", "api", tmp_path, _options(nats.url, postgresql.address("late"), tmp_path)) as api,
    ):
        api.start(is_awaited=False)
        fleets.until(lambda: api.probe("/healthz/live")[0] == 200, "it to live")
        base = f"http://127.0.0.1:{api.option('api', 'bind_port')}"
        fleets.until(lambda: api.wait_logged("The start waits for the database."), "it to say so")
        assert json.loads(api.probe("/healthz/ready")[1])["lacks"] == [{"what": "starting", "reason": "waiting for the database"}]
        assert httpx.get(f"{base}/healthz/ready").status_code == 503
        refused = httpx.get(f"{base}/v2.1/servers")
        assert refused.status_code == 503
        assert "waiting for the database" in refused.text
        fleets.create_database(postgresql, "made")
        postgresql.sql("ALTER DATABASE made RENAME TO late")
        try:
            api.wait_ready()
            assert httpx.get(f"{base}/v2.1/servers").json() == {"servers": []}
        finally:
            assert api.stop() == 0
            fleets.drop_database(postgresql, "late")


@pytest.mark.slow
def test_a_start_that_waits_can_be_ended(postgresql: postgres_server.Server, tmp_path: pathlib.Path) -> None:
    options = _options("nats://127.0.0.1:1", postgresql.address("never"), tmp_path)
    with fleets.Program("conductor", "conductor", tmp_path, options) as conductor:
        conductor.start(is_awaited=False)
        conductor.wait_logged("The start waits for the database.")
        assert conductor.stop(5) == 0


def test_an_old_schema_is_refused(postgresql: postgres_server.Server, tmp_path: pathlib.Path) -> None:
    postgresql.sql("CREATE DATABASE empty")
    address = postgresql.address("empty")
    try:
        with fleets.Program("conductor", "conductor", tmp_path, _options("nats://127.0.0.1:1", address, tmp_path)) as program:
            program.start(is_awaited=False)
            assert program.wait() == 1
            program.wait_logged("wherry: The database is empty. This release needs 0001_pre_first_schema")
            program.wait_logged("Run `wherry db upgrade`")
            assert program.run("db", "upgrade").returncode == 0
            assert "The schema is at " in program.run("db", "check").stdout
    finally:
        fleets.drop_database(postgresql, "empty")


@pytest.mark.slow
def test_one_machine_may_share_a_sqlite_file(tmp_path: pathlib.Path) -> None:
    options = _options("nats://127.0.0.1:1", f"sqlite:///{tmp_path}/shared.sqlite", tmp_path)
    with fleets.Program("conductor", "conductor", tmp_path, options) as conductor:
        assert conductor.run("db", "upgrade").returncode == 0
        conductor.start(is_awaited=False)
        fleets.until(lambda: conductor.lacks() == ["bus"], "it to start")
        assert conductor.stop() == 0
