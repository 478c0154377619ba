# SPDX-License-Identifier: Apache-2.0
"""What a person reads after a run: counts, why what was skipped was, why what was left out was, and each failure.

Must not shorten a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wherry.testing.tempest_run import cases

#: Of a traceback, what is shown; all of it stands in the JUnit file and tempest's own log.
FAILURE_LINES = 25


def lines_of(title: str, found: Sequence[cases.Case], left_out: Mapping[str, Sequence[str]], seconds: float) -> list[str]:
    """Tell one run.

    :param left_out: reason -> tests.
    """
    counts = {verdict: len(cases.of_verdict(found, verdict)) for verdict in cases.Verdict}
    told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in cases.Verdict)
    lines = ["", f"tempest, {title}: {told}, left out {sum(map(len, left_out.values()))} ({seconds:.0f} s)"]
    groups = cases.by_reason(cases.of_verdict(found, cases.Verdict.SKIPPED))
    if groups:
        lines.append("  skipped, as tempest says why:")
    for reason, members in groups.items():
        lines += _group(reason, [case.full_name for case in members])
    if left_out:
        lines.append("  left out:")
    for reason, names in sorted(left_out.items(), key=lambda item: (-len(item[1]), item[0])):
        lines += _group(reason, names)
    for case in cases.of_verdict(found, cases.Verdict.FAILED):
        lines += [f"  FAILED {case.full_name}", *(f"    {line}" for line in case.why.splitlines()[-FAILURE_LINES:])]
    return lines


def _group(reason: str, names: Sequence[str]) -> list[str]:
    classes: dict[str, int] = {}
    for name in names:
        place = name.rpartition(".")[0].removeprefix("tempest.api.compute.")
        classes[place] = classes.get(place, 0) + 1
    return [f"  {len(names):>5}  {reason}", *(f"         {count:>4} {place}" for place, count in classes.items())]
