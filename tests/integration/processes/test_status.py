# SPDX-License-Identifier: Apache-2.0
"""`wherry status` on a site that works, and on one that waits."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.integration.processes import conftest
from wherry.testing import fleet as fleets

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


def _status(site: conftest.Site) -> dict[str, Any]:
    done = site.fleet.conductors[0].run("status", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _limit(site: conftest.Site, migrations: int) -> None:
    for one in [*site.fleet.conductors, *site.fleet.apis]:
        place = one.log_size()
        one.write("DEFAULT", max_concurrent_live_migrations=migrations)
        one.signal(signal.SIGHUP)
        one.wait_logged("DEFAULT.max_concurrent_live_migrations", after=place)


def test_it_tells_what_runs_and_what_waits_for_what(site: conftest.Site) -> None:
    conductor = site.fleet.conductors[1]
    _limit(site, 1)
    try:
        site.migrate("slow-11")
        site.until_status("slow-11", "running")
        site.migrate("slow-12", host="h3")
        site.until_status("slow-12", "queued")
        site.migrate("slow-13", host="h3")
        site.until_status("slow-13", "queued")
        told = _status(site)
        text = conductor.run("status").stdout
        answer = site.request("GET", f"/servers/{site.uuid('slow-13')}/migrations", version="2.1000").json()["migrations"]
    finally:
        _limit(site, 0)
    assert sorted((one["name"], one["state"]) for one in told["apis"]) == [("api-1", "up"), ("api-2", "up")]
    assert {one["lease"] for one in told["conductors"]} == {"held"}
    assert {one["name"] for one in told["conductors"]} == {"conductor-1", "conductor-2"}
    assert sum(one["operations"] for one in told["conductors"]) == len(told["operations"])
    assert {one["host"]: one["state"] for one in told["agents"]} == {"h1": "up", "h2": "up", "h3": "up"}
    waiting = {one["server_name"]: one for one in told["operations"]}
    assert waiting["slow-11"]["waits_for"] == []
    assert (waiting["slow-12"]["queue_position"], waiting["slow-12"]["queue_waits_for"]) == (1, ["outgoing:h1"])
    (reason,) = waiting["slow-13"]["waits_for"]
    assert reason.startswith("place 2 in the queue, since ")
    assert reason.endswith("waits for a slot out of h1 (max_concurrent_live_migrations = 1)")
    assert "place 1 in the queue" in text
    assert "conductor-1" in text
    assert told["disputes"] == []
    assert [(one["queue_position"], one["waits_for"]) for one in answer] == [(2, ["outgoing:h1"])]


def test_an_api_that_has_ended_is_not_told_of(site: conftest.Site) -> None:
    first, second = site.fleet.apis
    second.stop()
    try:
        assert [one["name"] for one in _status(site)["apis"]] == [first.name]
    finally:
        second.start()
    assert len(_status(site)["apis"]) == 2


@pytest.mark.slow
def test_it_tells_of_who_is_gone(site: conftest.Site) -> None:
    agent, (first, second) = site.fleet.agents["agent"], site.fleet.conductors
    agent.signal(signal.SIGSTOP)
    second.kill()
    try:
        fleets.until(lambda: {one["state"] for one in _status(site)["agents"]} == {"down"}, "the agents to be down")
        told = _status(site)
    finally:
        agent.signal(signal.SIGCONT)
        second.start()
    # Its lease lasts for half a minute.
    assert {one["name"] for one in told["conductors"]} >= {first.name, second.name}
    assert min(one["heard_seconds_ago"] for one in told["agents"]) > 5
