# SPDX-License-Identifier: Apache-2.0
"""What the demo reads out of answers."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from wherry.testing.demo import records, story

MIB = records.MIB


def _migration(**changes: Any) -> records.Migration:
    body = {
        "id": 7,
        "uuid": "3b0c",
        "status": "running",
        "source_compute": "h1",
        "dest_compute": "h2",
        "memory_total_bytes": 200 * MIB,
        "memory_processed_bytes": 150 * MIB,
        "memory_remaining_bytes": 50 * MIB,
    }
    return records.migration_of({**body, **changes})


def _event(name: str, **changes: Any) -> dict[str, Any]:
    body = {
        "event": name,
        "host": "h1",
        "start_time": "2030-01-02T03:04:05.000000",
        "finish_time": "2030-01-02T03:04:06.250000",
        "result": "Success",
        "details": None,
    }
    return {**body, **changes}


@pytest.mark.parametrize(("sent", "is_hopeless"), [(150, False), (200, False), (201, True), (None, False)])
def test_a_guest_outruns_its_copy_once_more_was_sent_than_it_has(sent: int | None, is_hopeless: bool) -> None:
    assert _migration(memory_processed_bytes=None if sent is None else sent * MIB).has_sent_all_once is is_hopeless


@pytest.mark.parametrize(
    ("status", "is_ended"), [("running", False), ("running (post-copy)", False), ("queued", False), ("cancelled", True), ("error", True)]
)
def test_ended_are_the_terminal_statuses(status: str, is_ended: bool) -> None:
    assert _migration(status=status).is_ended is is_ended


def test_a_migration_without_the_own_fields_has_no_reason() -> None:
    assert (_migration().reason, _migration(reason="requested").reason) == ("", "requested")


def test_events_come_first_one_first_and_times_are_utc() -> None:
    events = records.events_of([_event("second", finish_time=None, result=None), _event("first")])
    assert [one.name for one in events] == ["first", "second"]
    assert events[0].started_at == datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert events[0].seconds == pytest.approx(1.25)
    assert events[1].seconds is None


_NAMES = [
    "conductor_live_migrate_server",
    "compute_check_can_live_migrate_destination",
    "compute_check_can_live_migrate_source",
    "compute_pre_live_migration",
    "compute_live_migration",
    "compute_post_live_migration_at_destination",
]


def _story(names: list[str], **last: Any) -> list[records.Event]:
    bodies = [_event(name) for name in names]
    bodies[-1] |= last
    return records.events_of(reversed(bodies))


def test_a_whole_story_of_success_is_told() -> None:
    assert story.tells_success(_story(_NAMES))


@pytest.mark.parametrize(
    "events",
    [
        _story(_NAMES[:-1]),
        _story([_NAMES[1], _NAMES[0], *_NAMES[2:]]),
        _story(_NAMES, result="Error"),
        _story(_NAMES, finish_time=None, result=None),
        _story(_NAMES, host=""),
        _story([*_NAMES, "compute_rollback_live_migration_at_destination"], result="Error"),
    ],
    ids=["one is missing", "wrong order", "one failed", "one is open", "no host", "it was undone"],
)
def test_a_story_with_a_flaw_is_none_of_success(events: list[records.Event]) -> None:
    assert not story.tells_success(events)


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([_event("deadline_applied", start_time="2030-01-02T03:04:11.500000"), _event("compute_live_migration")], 6.5),
        ([_event("compute_live_migration")], None),
        ([_event("deadline_applied")], None),
    ],
)
def test_how_long_after_its_start_a_transfer_was_forced(events: list[dict[str, Any]], seconds: float | None) -> None:
    assert story.seconds_until_forced(records.events_of(events)) == seconds
