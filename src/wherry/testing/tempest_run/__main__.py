# SPDX-License-Identifier: Apache-2.0
"""Runs tempest against Wherry as often as is asked, tells what came of it, and ends with 0 only if nothing failed."""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence

from wherry.testing import keystone as keystones
from wherry.testing import lab as labs
from wherry.testing.demo import errors, signals
from wherry.testing.tempest_run import cases, junit, report, runs, suite


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the words ask for; return the exit status."""
    options = _parse(argv)
    signals.raise_on_signals()
    results: dict[str, list[cases.Case]] = {}
    if reason := keystones.missing() or suite.missing():
        results["nothing"] = [_nothing(reason)]
    for run in runs.chosen(options.run, is_smoke=options.smoke) if not reason else ():
        began = time.monotonic()
        try:
            outcome = runs.perform(run, options.tests, is_loud=options.verbose)
        except signals.Interrupted as interrupted:
            print(f"tempest: ended by {interrupted.name}; everything is cleaned up", file=sys.stderr)
            return interrupted.exit_status
        except labs.LabUnavailable as problem:
            outcome = runs.Outcome(cases=[_nothing(str(problem))], left_out={})
        except (errors.DemoFailed, suite.SuiteFailed, labs.LabError, subprocess.SubprocessError, AssertionError) as problem:
            print(f"tempest, {run.title}: {problem}", file=sys.stderr)
            outcome = runs.Outcome(cases=[cases.failed("tempest", run.title, str(problem))], left_out={})
        results[run.name] = outcome.cases
        print("\n".join(report.lines_of(run.title, outcome.cases, outcome.left_out, time.monotonic() - began)), flush=True)
    failed = sum(len(cases.of_verdict(found, cases.Verdict.FAILED)) for found in results.values())
    if reason:
        print(f"tempest: skipped: {reason}", file=sys.stderr)
    if options.junit_xml:
        junit.write(options.junit_xml, results)
    print(f"\ntempest: {_totals(results)}")
    return 1 if failed else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/tempest", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a part that takes less than two minutes, as `make test` does")
    parser.add_argument("--run", action="append", choices=[run.name for run in runs.RUNS], help="only this one; may be given several times")
    parser.add_argument("--tests", type=re.compile, metavar="REGEX", help="only tests that this is found in; no class must have run then")
    parser.add_argument("--junit-xml", type=pathlib.Path, metavar="FILE", help="where to write the results for programs")
    parser.add_argument("--verbose", action="store_true", help="show each test as it ends")
    return parser.parse_args(argv)


def _nothing(reason: str) -> cases.Case:
    is_failure = os.environ.get("WHERRY_REQUIRE_REAL") == "1"
    verdict = cases.Verdict.FAILED if is_failure else cases.Verdict.SKIPPED
    return cases.Case(place="tempest", name="all of it", verdict=verdict, why=reason)


def _totals(results: dict[str, list[cases.Case]]) -> str:
    every = [case for found in results.values() for case in found]
    return ", ".join(f"{len(cases.of_verdict(every, verdict))} {verdict}" for verdict in cases.Verdict)


if __name__ == "__main__":
    sys.exit(main())
