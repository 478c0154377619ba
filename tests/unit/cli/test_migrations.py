# SPDX-License-Identifier: Apache-2.0
"""Reading live migrations, most of all where the service is Nova: no reasons, and nothing shown of what has ended."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from osc_lib import exceptions

from tests.unit.cli import nova
from wherry.cli import compute, migrations

SERVER = "11111111-1111-4111-8111-111111111111"
UUID = "33333333-3333-4333-8333-333333333333"
FORBIDDEN: nova.Answer = (403, {"forbidden": {"code": 403, "message": "Policy doesn't allow it."}})


def row(number: int = 7, **fields: Any) -> dict[str, Any]:
    """Give a row of os-migrations."""
    return {
        "id": number,
        "uuid": UUID,
        "instance_uuid": SERVER,
        "status": "running",
        "source_compute": "h1",
        "dest_compute": "h2",
        "created_at": f"2026-01-01T00:00:{number:02}.000000",
        "updated_at": None,
        **fields,
    }


def event(name: str, result: str | None, second: int, **fields: Any) -> dict[str, Any]:
    """Give an event of an instance action."""
    return {
        "event": name,
        "result": result,
        "start_time": f"2026-01-01T00:01:{second:02}.000000",
        "finish_time": f"2026-01-01T00:01:{second + 1:02}.000000" if result else None,
        **fields,
    }


def test_what_has_ended_is_shown_by_nova_from_the_list_of_all() -> None:
    service = nova.Nova(
        {
            f"GET /servers/{SERVER}/migrations": {"migrations": []},
            "GET /os-migrations": {"migrations": [row(8, uuid="x"), row(7, status="failed")]},
        }
    )
    for named in ("7", UUID):
        record = migrations.Migrations(service.api()).show(SERVER, named)
        assert (record.id, record.status, record.has_ended, record.source) == (7, "failed", True, "h1")


def test_a_uuid_is_not_sent_to_nova_where_it_wants_a_number() -> None:
    service = nova.Nova({f"GET /servers/{SERVER}/migrations": {"migrations": [row(server_uuid=SERVER)]}})
    assert migrations.Migrations(service.api()).show(SERVER, UUID).id == 7
    assert [asked.path for asked in service.asked] == [f"/servers/{SERVER}/migrations"]


def test_what_is_not_there() -> None:
    service = nova.Nova({f"GET /servers/{SERVER}/migrations": {"migrations": []}, "GET /os-migrations": {"migrations": []}})
    reading = migrations.Migrations(service.api())
    with pytest.raises(exceptions.CommandError, match="has no live migration 9"):
        reading.show(SERVER, "9")
    with pytest.raises(exceptions.CommandError, match="was never live-migrated"):
        reading.choose(SERVER, None)


def test_who_may_not_see_all_projects_asks_for_their_own() -> None:
    def listed(asked: nova.Asked) -> nova.Answer:
        return {"migrations": [row()]} if asked.query.get("project_id") == "p1" else FORBIDDEN

    answers: dict[str, Any] = {"GET /os-migrations": listed, f"GET /servers/{SERVER}": {"server": {"tenant_id": "p1"}}}
    assert migrations.Migrations(nova.Nova(answers).api(project_id="p1")).across()[0].id == 7
    # A session that knows of no project takes the server's.
    assert migrations.Migrations(nova.Nova(answers).api()).across(instance_uuid=SERVER)[0].id == 7
    with pytest.raises(compute.Refused, match="403"):
        migrations.Migrations(nova.Nova(answers).api()).across()


def test_all_pages_are_read_unless_there_is_a_limit() -> None:
    def listed(asked: nova.Asked) -> nova.Answer:
        if "marker" in asked.query:
            return {"migrations": [row(6, uuid="last")]}
        return {"migrations": [row(7)], "migrations_links": [{"rel": "next", "href": "…"}]}

    service = nova.Nova({"GET /os-migrations": listed})
    assert [record.id for record in migrations.Migrations(service.api()).across()] == [7, 6]
    assert [record.id for record in migrations.Migrations(service.api()).across(limit=1)] == [7]
    assert {asked.query["migration_type"] for asked in service.asked} == {"live-migration"}


def test_the_migration_of_a_request_is_the_first_after_what_was_there() -> None:
    service = nova.Nova({"GET /os-migrations": {"migrations": [row(9), row(8), row(7)]}})
    reading = migrations.Migrations(service.api())
    following = reading.following(SERVER, 7)
    assert following is not None
    assert following.id == 8
    assert reading.following(SERVER, 9) is None


def test_the_request_of_a_migration_is_the_last_before_it() -> None:
    def action(second: int, name: str = "live-migration") -> dict[str, str]:
        return {"action": name, "start_time": f"2026-01-01T00:00:{second:02}.000000", "request_id": f"req-{second}"}

    actions = [action(8), action(7), action(6, "lock"), action(3)]
    service = nova.Nova({f"GET /servers/{SERVER}/os-instance-actions": {"instanceActions": actions}})
    reading = migrations.Migrations(service.api())
    assert [reading.request_of(_record(number)) for number in (9, 7, 5, 1)] == ["req-8", "req-7", "req-3", None]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([event("a", "Success", 1), event("b", "Error", 2, details="No space left."), event("undo", "Success", 3)], "No space left."),
        # Only administrators are shown details.
        ([event("b", "Error", 2, host="h2")], "b failed on h2; an administrator sees why."),
        ([event("a", "Success", 1)], ""),
    ],
)
def test_nova_says_why_by_its_events(events: list[dict[str, Any]], why: str) -> None:
    service = nova.Nova({f"GET /servers/{SERVER}/os-instance-actions/req-1": {"instanceAction": {"events": events[::-1]}}})
    reading = migrations.Migrations(service.api())
    found = reading.events(SERVER, "req-1")
    assert [one.name for one in found] == [one["event"] for one in events]
    assert reading.why(_record(7), found) == why


def test_wherry_says_why_by_the_record() -> None:
    service = nova.Nova({}, newest="2.1000")
    record = _record(7, reason="deadline", reason_message="Aborted: deadline.", remedy="Allow more time.")
    assert migrations.Migrations(service.api()).why(record, []) == "Aborted: deadline. Allow more time."


@pytest.mark.parametrize(
    ("fields", "percentage"),
    [
        ({}, None),
        ({"memory_total_bytes": 0, "memory_remaining_bytes": 0}, None),
        ({"memory_total_bytes": 200, "memory_remaining_bytes": 50}, 75),
        ({"memory_total_bytes": 100, "memory_remaining_bytes": 50, "disk_total_bytes": 300, "disk_remaining_bytes": 300}, 13),
        # Dirtied faster than it is sent, a copy may have more left than it began with.
        ({"memory_total_bytes": 100, "memory_remaining_bytes": 150}, 0),
        ({"status": "completed", "memory_total_bytes": 100, "memory_remaining_bytes": 3}, 100),
    ],
)
def test_the_percentage_is_of_memory_and_disks_together(fields: dict[str, Any], percentage: int | None) -> None:
    assert _record(7, **fields).percentage == percentage


def test_times_are_utc() -> None:
    assert _record(7).created_at == datetime.datetime(2026, 1, 1, 0, 0, 7, tzinfo=datetime.UTC)


def _record(number: int, **fields: Any) -> migrations.Record:
    service = nova.Nova({"GET /os-migrations": {"migrations": [row(number, **fields)]}})
    return migrations.Migrations(service.api()).across()[0]
