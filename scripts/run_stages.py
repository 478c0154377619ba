# SPDX-License-Identifier: Apache-2.0
"""Run the stages of `make test`, each within its share of time, and end with one line of totals.

Needs nothing but Python: its first stage makes the environment that the others run in. A stage
without tests is left out of the table; a stage over its share is stopped and counts as failed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

#: Where stages leave their results.
RESULTS = pathlib.Path(".stages")
#: How a stage is told to stop, and how long it then has to clean up (guests, namespaces, servers).
STOPS = ((signal.SIGINT, 30.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
SLOWEST_SHOWN = 12
#: pytest's exit status when nothing was selected.
_NO_TESTS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the whole run."""

    name: str
    #: What it may take on two processors.
    share_seconds: float
    #: What to run; `{results}` stands for the file of its results, `{without}` for what keeps slow tests out.
    command: tuple[str, ...]
    #: Left out of the command where the slow tests are asked for, too.
    only_part: tuple[str, ...] = ()
    #: Whether the later stages make no sense without it.
    is_needed: bool = False


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What became of a stage."""

    stage: Stage
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    #: Why it failed, besides failed tests.
    trouble: str = ""
    has_tests: bool = False
    #: (seconds, test), slowest first.
    slowest: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    #: (test, why) of what was skipped.
    skips: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        return not self.trouble and self.failed == 0


def _pytest(marks: str, *options: str) -> tuple[str, ...]:
    # -qq: no closing line of its own; the totals of all stages are the one that counts.
    return (".venv/bin/pytest", "-qq", "--no-header", "--junit-xml={results}", *options, "-m", f"{marks}{{without}}")


#: Tests that take long and prove little that others do not are deselected, not skipped, but where all are asked for.
_WITHOUT_SLOW = " and not slow"


#: A test that carries several of these marks belongs to the first.
_PLACES = ("lab", "clients", "postgres or nats", "simulation")


def _only(marks: str) -> str:
    earlier = _PLACES[: _PLACES.index(marks)]
    return f"({marks})" + "".join(f" and not ({other})" for other in earlier)


STAGES = (
    Stage(name="install", share_seconds=180, command=("scripts/setup",), is_needed=True),
    Stage(name="check", share_seconds=120, command=("scripts/check",)),
    # These share nothing, so every processor takes its part; the other stages have one lab, one server, one Keystone.
    Stage(name="fast", share_seconds=180, command=_pytest(f"not ({' or '.join(_PLACES)})", "--numprocesses=auto", "--dist=worksteal")),
    Stage(name="simulation", share_seconds=120, command=_pytest(_only("simulation"))),
    Stage(name="stores", share_seconds=120, command=_pytest(_only("postgres or nats"))),
    Stage(name="lab", share_seconds=300, command=_pytest(_only("lab"))),
    Stage(name="clients", share_seconds=180, command=_pytest(_only("clients"))),
    Stage(name="tempest", share_seconds=120, command=("scripts/tempest", "--junit-xml={results}"), only_part=("--smoke",)),
)


def read_results(path: pathlib.Path, outcome: Outcome, *, is_interrupted: bool = False) -> None:
    """Add what a stage's JUnit file says to its outcome."""
    # pytest lists the test it was interrupted in without a name and as if it had passed.
    cases = [case for case in ET.parse(path).iter("testcase") if case.get("name")]  # noqa: S314 - our own pytest wrote it
    if is_interrupted and cases:
        outcome.trouble += f", after {_name(cases[-1])}"
    for case in cases:
        outcome.has_tests = True
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skip is not None:
            outcome.skipped += 1
            outcome.skips.append((_name(case), (skip.get("message") or "").strip()))
        else:
            outcome.passed += 1
        outcome.slowest.append((float(case.get("time") or 0), _name(case)))
    outcome.slowest.sort(reverse=True)


def _name(case: ET.Element) -> str:
    return f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"


def run_stage(stage: Stage, *, patience: float, environ: Mapping[str, str], has_slow: bool = False) -> Outcome:
    """Run one stage to its end or to the end of its share."""
    outcome = Outcome(stage=stage)
    results = RESULTS / f"{stage.name}.xml"
    results.unlink(missing_ok=True)
    without = "" if has_slow else _WITHOUT_SLOW
    words = stage.command if has_slow else stage.command + stage.only_part
    command = [part.replace("{results}", str(results)).replace("{without}", without) for part in words]
    if not shutil.which(command[0]):
        return outcome
    limit = stage.share_seconds * patience
    started, is_interrupted = time.monotonic(), False
    process = subprocess.Popen(command, env=dict(environ), start_new_session=True)
    try:
        status = process.wait(timeout=limit)
        if status not in (0, _NO_TESTS) or (status == _NO_TESTS and not _is_pytest(stage)):
            outcome.trouble = f"{command[0]} ended with {status}"
    except subprocess.TimeoutExpired:
        outcome.trouble = f"took more than its share of {limit:g} s and was stopped"
        is_interrupted = True
        stop(process)
    except KeyboardInterrupt:
        stop(process)
        raise
    outcome.seconds = time.monotonic() - started
    if results.exists():
        with contextlib.suppress(ET.ParseError):
            read_results(results, outcome, is_interrupted=is_interrupted)
    if outcome.failed and not is_interrupted:
        # The failed tests say it already.
        outcome.trouble = ""
    return outcome


def _is_pytest(stage: Stage) -> bool:
    return stage.command[0].endswith("pytest")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a stage so that it cleans up; end its whole group when it does not."""
    for number, grace in STOPS:
        with contextlib.suppress(ProcessLookupError):
            # Only the group that this stage leads; nothing is ever ended by name.
            os.killpg(process.pid, number)
        try:
            process.wait(timeout=grace)
            return
        except subprocess.TimeoutExpired:
            continue


def report(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines that tell how it went; the last one holds the totals."""
    lines = ["", f"{'stage':<12} {'seconds':>8} {'share':>6} {'passed':>7} {'failed':>7} {'skipped':>8}"]
    for outcome in outcomes:
        counts = (outcome.passed, outcome.failed, outcome.skipped) if outcome.has_tests else ("", "", "")
        lines.append(
            f"{outcome.stage.name:<12} {outcome.seconds:>8.1f} {outcome.stage.share_seconds:>6g} "
            f"{counts[0]:>7} {counts[1]:>7} {counts[2]:>8}" + ("" if outcome.is_good else "  FAILED")
        )
    slowest = sorted((item for outcome in outcomes for item in outcome.slowest), reverse=True)[:SLOWEST_SHOWN]
    if slowest:
        lines += ["", "slowest tests:", *(f"{seconds:>8.2f} s  {name}" for seconds, name in slowest)]
    skips = [item for outcome in outcomes for item in outcome.skips]
    if skips:
        lines += ["", "skipped:", *(f"  {name}: {why}" for name, why in skips)]
    lines += [f"stage {outcome.stage.name} FAILED: {outcome.trouble}" for outcome in outcomes if outcome.trouble]
    # A stage that failed without a failed test (stopped, crashed, a lint) must not vanish from the totals.
    failed = sum(outcome.failed + (1 if outcome.trouble else 0) for outcome in outcomes)
    passed, skipped = sum(outcome.passed for outcome in outcomes), sum(outcome.skipped for outcome in outcomes)
    return [*lines, "", f"{passed} passed, {failed} failed, {skipped} skipped"]


def run(
    stages: Sequence[Stage], *, patience: float = 1.0, environ: Mapping[str, str] | None = None, has_slow: bool = False
) -> list[Outcome]:
    """Run the stages in order; what a needed one lacks ends the run."""
    RESULTS.mkdir(exist_ok=True)
    outcomes = []
    for stage in stages:
        print(f"\n=== {stage.name} (share {stage.share_seconds * patience:g} s)", flush=True)
        outcome = run_stage(stage, patience=patience, environ=os.environ if environ is None else environ, has_slow=has_slow)
        if outcome.trouble:
            print(f"stage {stage.name} FAILED: {outcome.trouble}", flush=True)
        # Not there yet: a stage without tests says nothing, so it has no line either.
        if outcome.has_tests or outcome.trouble or (outcome.seconds and not _is_pytest(stage)):
            outcomes.append(outcome)
        else:
            print("no tests", flush=True)
        if stage.is_needed and not outcome.is_good:
            break
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages named, or all."""
    # A run in the background of a script inherits an ignored SIGINT, and so would every stage and every test that interrupts something.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="scripts/run_stages.py", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(stage.name for stage in STAGES)}; default: all")
    parser.add_argument("--patience", type=float, default=1.0, metavar="FACTOR", help="multiply every share, for a slower machine")
    parser.add_argument("--slow", action="store_true", help="run the tests marked slow, too")
    options = parser.parse_args(arguments)
    known = {stage.name: stage for stage in STAGES}
    unknown = [name for name in options.stages if name not in known]
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; the stages are {', '.join(known)}")
    outcomes = run([known[name] for name in options.stages] or STAGES, patience=options.patience, has_slow=options.slow)
    print("\n".join(report(outcomes)), flush=True)
    return 0 if outcomes and all(outcome.is_good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
