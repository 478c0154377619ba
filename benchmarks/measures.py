# SPDX-License-Identifier: Apache-2.0
"""Numbers that were measured, what is aimed at, and how two runs compare. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One number."""

    #: What was measured, and how: "accepts.postgresql.async.16".
    name: str
    value: float
    unit: str
    #: What the value should not exceed, or should reach; None = only told.
    at_most: float | None = None
    at_least: float | None = None
    #: Numbers beside it, and what it was measured with.
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        """Whether it is as aimed at."""
        return (self.at_most is None or self.value <= self.at_most) and (self.at_least is None or self.value >= self.at_least)

    @property
    def aim(self) -> str:
        """Say what is aimed at; nothing where it is only told."""
        told = [f"{word} {limit:g}" for word, limit in (("at most", self.at_most), ("at least", self.at_least)) if limit is not None]
        return " and ".join(told)


def lines(measures: Sequence[Measure]) -> Iterator[str]:
    """Say what was measured, a line each."""
    for one in measures:
        verdict = f"  ({one.aim}: {'met' if one.is_met else 'NOT MET'})" if one.aim else ""
        yield f"{one.name:<46} {one.value:>10.4g} {one.unit}{verdict}"


def percentile(samples: Sequence[float], share: float) -> float:
    """Give the value that this share of the samples, in percent, does not exceed; 0 without samples."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)] if ordered else 0.0


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """Give how many spans of time, each without its end, overlap at most."""
    # At one and the same time, ends come before beginnings.
    steps = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def freed_at(spans: Sequence[tuple[float, float]], limit: int, before: float) -> float:
    """Give the last time before the one given at which a limit on spans at once stopped being reached; minus infinity if there was none."""
    freed, now = -math.inf, 0
    for at, step in sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans]):
        if at >= before:
            break
        if step < 0 and now == limit:
            freed = at
        now += step
    return freed


def compared(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say how the second run's numbers relate to the first's."""
    old = {str(one["name"]): float(one["value"]) for one in before}
    for one in after:
        name, value = str(one["name"]), float(one["value"])
        ratio = f"x {value / old[name]:.2f}" if old.get(name) else "new"
        yield f"{name:<46} {old.get(name, math.nan):>10.4g} {value:>10.4g} {one['unit']:<12} {ratio}"
