# SPDX-License-Identifier: Apache-2.0
"""What the benchmark says of its samples."""

from __future__ import annotations

import pytest

from benchmarks import results


def _compared(wherry: list[float], virsh: list[float]) -> results.Comparison:
    return results.Comparison(wherry=wherry, recorded=wherry, virsh=virsh)


def test_ratio_and_overhead_are_of_medians_so_one_outlier_says_nothing() -> None:
    compared = _compared([3.3, 3.3, 90.0], [3.0, 0.1, 3.0])
    assert compared.ratio == pytest.approx(1.1)
    assert compared.overhead_ms == pytest.approx(300)


def test_a_ratio_of_short_migrations_does_not_pass_silently() -> None:
    short, idle = _compared([1.0], [1.0]), _compared([0.5], [0.5])
    assert any("too short to count" in line for line in results.comparison_lines(short, idle))
    assert not any("too short to count" in line for line in results.comparison_lines(_compared([2.0], [2.0]), idle))


@pytest.mark.parametrize(
    ("moved", "idle", "first", "verdicts"),
    [
        (([2.19], [2.0]), ([0.6], [0.5]), "ratio: 1.09", ["met", "met"]),
        (([2.4], [2.0]), ([0.7], [0.5]), "ratio: 1.20", ["MISSED", "MISSED"]),
    ],
)
def test_an_aim_that_is_missed_is_called_so(
    moved: tuple[list[float], list[float]], idle: tuple[list[float], list[float]], first: str, verdicts: list[str]
) -> None:
    lines = results.comparison_lines(_compared(*moved), _compared(*idle))
    assert lines[0] == first
    assert [line.rpartition(": ")[2] for line in lines if "aim" in line] == verdicts


@pytest.mark.parametrize(("delay_ms", "asynchronous", "is_fast"), [(50, 0.0099, True), (50, 0.011, False), (0, 0.05, True)])
def test_a_tenth_is_asked_where_hosts_are_far_away(delay_ms: float, asynchronous: float, is_fast: bool) -> None:
    answers = results.Answers(control_delay_ms=delay_ms, asynchronous=[asynchronous], blocking=[0.1])
    assert answers.is_fast is is_fast
    verdict = results.answer_lines(answers)[-1]
    assert ("less than a tenth" in verdict) is bool(delay_ms)
    assert verdict.endswith("NO") is not is_fast
