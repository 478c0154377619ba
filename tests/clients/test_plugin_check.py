# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration check`, through openstackclient's own shell."""

from __future__ import annotations

import json

from tests.clients import running, service
from tests.unit.cli import nova


def test_it_names_each_host_and_moves_nothing(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    rows = openstack.json("live", "migration", "check", idle, "--timeout", "60", "--on-timeout", "force_complete")
    assert source not in {row["Host"] for row in rows}
    assert {row["Allowed"] for row in rows} <= {"yes", "no", "not asked"}
    allowed = [row for row in rows if row["Allowed"] == "yes"]
    assert allowed
    assert all(row["Timeout Actions"] == "abort, force_complete" for row in allowed)
    assert all("the deadline of 60 s (request), force_complete" in row["Rests On"] for row in allowed)
    assert service.migrations(idle) == []
    assert service.host_of(idle) == source


def test_it_ends_with_1_and_the_reason_when_no_host_would_be_taken(openstack: running.Client, service: service.Service, idle: str) -> None:
    source = service.host_of(idle)
    output = openstack.run("live", "migration", "check", idle, "--host", source, "-f", "json", status=1)
    (row,) = json.loads(output.out)
    assert (row["Host"], row["Allowed"]) == (source, "no")
    assert f"to current host {source}" in row["Why Not"]
    assert f"{idle}: no host would be taken" in output.error
    assert service.migrations(idle) == []


def test_elsewhere_it_says_that_it_is_wherrys(openstack: running.Client, idle: str) -> None:
    """A service, or a pinned version, without 2.1000 is told so, and nothing is sent."""
    output = openstack.run("--os-compute-api-version", "2.96", "live", "migration", "check", idle, status=1)
    assert "needs microversion 2.1000, which is Wherry's; the newest here is 2.96" in output.error


def test_a_question_is_sent_at_wherrys_own_version_and_gives_its_answer() -> None:
    asked: list[object] = []

    def remember(request: nova.Asked) -> nova.Answer:
        asked.append((request.version, request.body))
        return {"live_migration_check": {"allowed": True, "source": "h1", "blockers": [], "hosts": []}}

    service = nova.Nova({"POST /servers/S/action": remember}, newest="2.1000")
    body = {"os-checkMigrateLive": {"host": "h2", "block_migration": True, "timeout_seconds": 0}}
    assert service.api().ask("Asking", "/servers/S/action", body, version=(2, 1000))["live_migration_check"]["allowed"]
    assert asked == [("2.1000", body)]
