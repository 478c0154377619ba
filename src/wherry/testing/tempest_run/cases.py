# SPDX-License-Identifier: Apache-2.0
"""What became of each test of the suite, and of the classes that had to run.

Reads and counts; runs nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Verdict(enum.StrEnum):
    """What tempest says of a test."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"


#: testtools' words for it.
_VERDICTS: Mapping[str, Verdict] = {"success": Verdict.PASSED, "xfail": Verdict.PASSED, "skip": Verdict.SKIPPED}

#: A class that is skipped or broken as a whole is reported under such a name.
_WHOLE_CLASS = re.compile(r"(?:setUpClass|tearDownClass) \((?P<name>[\w.]+)\)")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One test."""

    #: The class with its module.
    place: str
    name: str
    verdict: Verdict
    #: Why it was skipped, or the traceback.
    why: str = ""
    seconds: float = 0.0

    @property
    def full_name(self) -> str:
        """Class and test."""
        return f"{self.place}.{self.name}"


def failed(place: str, name: str, why: str) -> Case:
    """Make a failure that is ours, not tempest's."""
    return Case(place=place, name=name, verdict=Verdict.FAILED, why=why)


def plain(test_id: str) -> str:
    """Take the attributes off: "a.b.C.test_d[id-1,smoke]" is a.b.C.test_d."""
    return test_id.partition("[")[0]


def read(results: Iterable[Mapping[str, Any]], listed: Sequence[str]) -> list[Case]:
    """Make cases of what the converter wrote, one for each test: also where tempest reports a class as a whole.

    :param listed: the tests that were to run.
    """
    found = [_case_of(one) for one in results]
    told = {case.full_name for case in found}
    cases = []
    for case in found:
        whole = _WHOLE_CLASS.fullmatch(case.full_name)
        if whole is None:
            cases.append(case)
            continue
        members = [name for name in listed if name.rpartition(".")[0] == whole["name"] and name not in told]
        if case.verdict is Verdict.SKIPPED and members:
            cases += [dataclasses.replace(case, place=whole["name"], name=name.rpartition(".")[2]) for name in members]
        else:
            cases.append(dataclasses.replace(case, place=whole["name"], name=case.full_name.partition(" ")[0]))
    return cases


def _case_of(result: Mapping[str, Any]) -> Case:
    place, _, last = plain(str(result["id"])).rpartition(".")
    verdict = _VERDICTS.get(str(result["status"]), Verdict.FAILED)
    return Case(place=place, name=last, verdict=verdict, why=str(result["why"]).strip(), seconds=float(result["seconds"]))


def of_verdict(cases: Iterable[Case], verdict: Verdict) -> list[Case]:
    """Give those with this verdict."""
    return [case for case in cases if case.verdict is verdict]


def by_reason(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """Group by why, the largest group first; what differs in an id only is one reason."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.why or "no reason given", []).append(case)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def missing(cases: Iterable[Case], wanted: Iterable[str], listed: Iterable[str]) -> list[Case]:
    """Make a failure of each class that was wanted and of which no test ran."""
    ran = {case.place for case in cases if case.verdict is not Verdict.SKIPPED}
    known = {name.rpartition(".")[0] for name in listed}
    failures = []
    for place in wanted:
        if place not in ran:
            why = "it was skipped" if place in known else "tempest has no such class"
            failures.append(failed(place, "a test of this class ran", f"No test of it ran: {why}."))
    return failures
