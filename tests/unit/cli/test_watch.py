# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a migration under way."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pytest
import rich.console

from tests.unit.cli import nova, test_migrations
from wherry.cli import amounts, following, migrations, watch

NOW = datetime.datetime(2026, 1, 1, 1, 0, 0, tzinfo=datetime.UTC)
MIB = 1 << 20


def _record(**fields: Any) -> migrations.Record:
    service = nova.Nova({"GET /os-migrations": {"migrations": [test_migrations.row(**fields)]}})
    return migrations.Migrations(service.api()).across()[0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, []),
        ({"memory_remaining_bytes": 3 * MIB}, ["3.0 MiB left"]),
        ({"deadline_at": "2026-01-01T01:01:05.000000", "on_timeout": "force_complete"}, ["force-complete in 1:05"]),
        ({"deadline_at": "2026-01-01T00:59:00.000000", "on_timeout": "abort"}, ["deadline passed, abort"]),
        ({"timeout_seconds": 90}, ["deadline 1:30 after the copy starts"]),
        ({"status": "failed", "memory_remaining_bytes": 3 * MIB}, []),
        ({"bytes_per_second": 5 * MIB, "dirty_bytes_per_second": 2 * MIB}, ["5.0 MiB/s sent", "2.0 MiB/s dirtied"]),
        ({"iteration": 1, "seconds_left_low": 0, "seconds_left_high": 70}, ["0:00 to 1:10 to go"]),
        ({"iteration": 7, "seconds_left_low": 9, "seconds_left_high": None}, ["pass 7", "0:09 or more to go"]),
    ],
)
def test_details_tell_what_is_known_and_no_more(fields: dict[str, Any], told: list[str]) -> None:
    assert watch.details_of(_record(**fields), None, NOW) == told


def test_rates_are_told_once_they_are_known() -> None:
    rates = amounts.Rates(sent=80 * MIB, dirtied=20 * MIB)
    assert watch.details_of(_record(), rates, NOW) == ["80.0 MiB/s sent", "≈20.0 MiB/s dirtied"]
    assert watch.details_of(_record(), amounts.Rates(sent=80 * MIB, dirtied=0), NOW) == ["80.0 MiB/s sent"]


def _look(screen: watch.Screen, second: int, processed: int, remaining: int, events: list[migrations.StageEvent]) -> None:
    record = _record(
        memory_total_bytes=1000 * MIB,
        memory_processed_bytes=processed * MIB,
        memory_remaining_bytes=remaining * MIB,
        updated_at=f"2026-01-01T00:30:{second:02}.000000",
    )
    screen.update(following.Followed(name="web", record=record, request_id=None, events=events), record, NOW)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_look_shows_percentage_rates_and_each_stage_once(is_terminal: bool) -> None:
    out = io.StringIO()
    console = rich.console.Console(file=out, force_terminal=is_terminal, width=200, soft_wrap=True)
    stage = migrations.StageEvent(name="compute_live_migration", host="h1", started_at=NOW, finished_at=None, result=None, details=None)
    with watch.Screen(console) as screen:
        _look(screen, 0, 100, 900, [stage])
        _look(screen, 10, 900, 600, [stage])
    shown = out.getvalue()
    assert shown.count("compute_live_migration on h1: began") == 1
    assert "web  h1 → h2  running" in shown
    assert "40%" in shown
    # 800 MiB were sent in ten seconds and only 300 fewer remain.
    assert "80.0 MiB/s sent" in shown
    assert "≈50.0 MiB/s dirtied" in shown


def test_without_a_terminal_nothing_is_said_twice() -> None:
    out = io.StringIO()
    with watch.Screen(rich.console.Console(file=out, force_terminal=False, width=200)) as screen:
        for _ in range(3):
            _look(screen, 0, 100, 900, [])
    assert out.getvalue().count("running") == 1


@pytest.mark.parametrize(
    ("count", "written"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB"), (5 << 50, "5120.0 TiB")]
)
def test_sizes_are_written_in_their_largest_unit(count: int, written: str) -> None:
    assert amounts.size(count) == written


@pytest.mark.parametrize(("seconds", "written"), [(-3, "0:00"), (5.4, "0:05"), (65, "1:05"), (7205, "2:00:05")])
def test_durations_are_written_as_on_a_clock(seconds: float, written: str) -> None:
    assert amounts.duration(seconds) == written


def test_no_rates_without_a_move() -> None:
    before = amounts.Counters(at=NOW, processed_bytes=10, remaining_bytes=10)
    assert amounts.rates(before, before) is None
    later = amounts.Counters(at=NOW + datetime.timedelta(seconds=1), processed_bytes=5, remaining_bytes=10)
    assert amounts.rates(before, later) is None
