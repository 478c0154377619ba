# SPDX-License-Identifier: Apache-2.0
"""Following to the end: patience, and a service that is away for a while. No time passes but by the pauses."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from tests.unit.cli import nova, test_migrations
from wherry.cli import compute, following, migrations

SERVER = test_migrations.SERVER


class Course:
    """A service whose migration goes through statuses, one at each look."""

    def __init__(self, *statuses: str) -> None:
        self.nova = nova.Nova(
            {
                f"GET /servers/{SERVER}/migrations/7": self._show,
                f"GET /servers/{SERVER}/os-instance-actions/req-1": {"instanceAction": {"events": []}},
            },
            newest="2.1000",
        )
        self._statuses = list(statuses)
        self.now = 0.0
        self.pauses: list[Callable[[], None]] = []
        self.seen: list[tuple[str, str]] = []

    def follow(self, patience: following.Patience) -> bool:
        reading = migrations.Migrations(self.nova.api())
        self.followed = following.Followed(name="web", record=reading.show(SERVER, "7"), request_id="req-1")
        follower = following.Follower(reading, patience, pause=self._pause, clock=lambda: self.now)
        return follower.follow([self.followed], lambda one, before: self.seen.append((before.status, one.record.status)))

    def _show(self, _: nova.Asked) -> nova.Answer:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return {"migration": test_migrations.row(server_uuid=SERVER, status=status)}

    def _pause(self, seconds: float) -> None:
        self.now += seconds
        if self.pauses:
            self.pauses.pop(0)()


def test_it_looks_until_the_end_and_tells_each_change() -> None:
    course = Course("accepted", "accepted", "running", "running", "completed")
    assert course.follow(following.Patience(interval_seconds=2.0)) is True
    assert course.seen == [("accepted", "accepted"), ("accepted", "running"), ("running", "running"), ("running", "completed")]
    assert course.now == 6.0


def test_what_has_ended_before_is_looked_at_once_for_its_events() -> None:
    course = Course("failed")
    assert course.follow(following.Patience()) is True
    assert (course.seen, course.now) == ([("failed", "failed")], 0.0)


def test_patience_ends() -> None:
    course = Course("running")
    assert course.follow(following.Patience(interval_seconds=1.0, limit_seconds=5.0)) is False
    assert course.now == 5.0


def test_a_service_that_comes_back_is_asked_on() -> None:
    course = Course("running", "running", "completed")

    def go() -> None:
        course.nova.is_away = True

    def come_back() -> None:
        course.nova.is_away = False

    course.pauses = [go, lambda: None, come_back]
    assert course.follow(following.Patience(retry_seconds=10.0)) is True
    assert course.followed.record.status == "completed"


def test_a_service_that_stays_away_ends_the_wait() -> None:
    course = Course("running")

    def go() -> None:
        course.nova.is_away = True

    course.pauses = [go]
    with pytest.raises(compute.Away):
        course.follow(following.Patience(interval_seconds=1.0, retry_seconds=10.0))
    assert course.now == 11.0


@pytest.mark.parametrize("written", ["0", "-1", "soon", "inf", "nan"])
def test_times_are_above_zero(written: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number of seconds above 0"):
        following.positive_seconds(written)
