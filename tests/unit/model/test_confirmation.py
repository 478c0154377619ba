# SPDX-License-Identifier: Apache-2.0
"""When what waits is confirmed by itself."""

from __future__ import annotations

import datetime

import pytest

from wherry.model import confirmation

_RESTED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("window", "most", "pauses"),
    [
        (300, 1000, {0: 300, 1: 600, 2: 1000, 10_000: 1000}),
        # What is to wait a day is not tried more often than that.
        (86_400, 1000, {0: 86_400, 1: 86_400, 7: 86_400}),
        (0, 1000, {0: None, 3: None}),
    ],
)
def test_the_pause_doubles_with_each_refusal_up_to_the_longest(window: int, most: float, pauses: dict[int, float | None]) -> None:
    for refusals, pause in pauses.items():
        due = confirmation.due_at(_RESTED, refusals, window_seconds=window, most_seconds=most)
        assert due == (None if pause is None else _RESTED + datetime.timedelta(seconds=pause))
