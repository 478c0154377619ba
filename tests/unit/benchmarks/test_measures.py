# SPDX-License-Identifier: Apache-2.0
"""What `make bench` makes of its numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks import measures


@pytest.mark.parametrize(
    ("limits", "is_met", "aim"),
    [
        ({}, True, ""),
        ({"at_most": 5.0}, True, "at most 5"),
        ({"at_most": 4.9}, False, "at most 4.9"),
        ({"at_least": 5.1}, False, "at least 5.1"),
        ({"at_least": 1.0, "at_most": 9.0}, True, "at most 9 and at least 1"),
    ],
)
def test_an_aim_is_met_or_not_and_said(limits: dict[str, Any], is_met: bool, aim: str) -> None:
    one = measures.Measure(name="n", value=5.0, unit="ms", **limits)
    assert (one.is_met, one.aim) == (is_met, aim)
    (line,) = measures.lines([one])
    assert ("NOT MET" in line) is not is_met


def test_percentiles_are_values_that_were_measured() -> None:
    assert measures.percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert measures.percentile(list(range(1, 101)), 99) == 99
    assert measures.percentile([7.0], 99) == 7.0
    assert measures.percentile([], 50) == 0.0


def test_what_begins_as_another_ends_is_not_at_once_with_it() -> None:
    assert measures.most_at_once([(0, 1), (1, 2), (2, 3)]) == 1
    assert measures.most_at_once([(0, 2), (1, 3), (1.5, 1.6)]) == 3
    assert measures.most_at_once([]) == 0


@pytest.mark.parametrize(
    ("limit", "before", "freed"),
    [(1, 9.0, 6.0), (2, 9.0, 4.0), (3, 9.0, -math.inf), (1, 6.0, 1.0), (2, 3.5, -math.inf), (1, 0.5, -math.inf)],
)
def test_a_slot_is_free_since_its_limit_was_last_reached(limit: int, before: float, freed: float) -> None:
    """At most two at once, from 3 to 4; none from 1 to 2 and from 6 on."""
    assert measures.freed_at([(0.0, 1.0), (2.0, 4.0), (3.0, 6.0)], limit, before) == freed


def test_two_results_are_compared_by_name() -> None:
    before = [{"name": "a", "value": 2.0, "unit": "ms"}, {"name": "gone", "value": 1.0, "unit": "ms"}]
    after = [{"name": "a", "value": 3.0, "unit": "ms"}, {"name": "b", "value": 1.0, "unit": "/s"}]
    first, second = measures.compared(before, after)
    assert first.split() == ["a", "2", "3", "ms", "x", "1.50"]
    assert second.split()[-1] == "new"
