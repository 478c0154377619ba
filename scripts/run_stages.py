# SPDX-License-Identifier: Apache-2.0
"""Run the stages of `make test`, each within its share of time and all within the limit, and end with one line of totals.

Needs nothing but Python: its first stage makes the environment that the others run in. A stage
without tests is left out of the table; a stage over its share, or over what is left of the limit,
is stopped and counts as failed.
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
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from concurrent import futures

#: Where stages leave their results.
RESULTS = pathlib.Path(".stages")
#: What all stages together may take on two processors: without the slow tests, and with them.
LIMIT_SECONDS = {False: 20 * 60.0, True: 45 * 60.0}
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
    #: The same with the slow tests.
    slow_share_seconds: float
    #: What to run; `{results}` stands for the file of its results, `{without}` for what keeps slow tests out.
    command: tuple[str, ...]
    #: Left out of the command where the slow tests are asked for, too.
    only_part: tuple[str, ...] = ()
    #: Whether the later stages make no sense without it.
    is_needed: bool = False
    #: The stage from whose beginning on it runs aside where the slow tests are asked for, with what that one and the next ones leave of
    #: the processors. For stages whose outcome no shortage of time changes, beside those that wait more than they work.
    beside: str = ""

    def share(self, *, has_slow: bool) -> float:
        """Give what it may take, in seconds."""
        return self.slow_share_seconds if has_slow else self.share_seconds


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What became of a stage."""

    stage: Stage
    share_seconds: float = 0.0
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


#: For tests that share a lab, servers, a Keystone: two of each, side by side, and the tests of a file in one of them. These wait as much as
#: they work; more than two would be in each other's way also where there are more processors.
_TWO = ("--numprocesses=2", "--dist=loadfile")


#: A test that carries several of these marks belongs to the first.
_PLACES = ("lab", "clients", "postgres or nats", "simulation")


def _only(marks: str) -> str:
    earlier = _PLACES[: _PLACES.index(marks)]
    return f"({marks})" + "".join(f" and not ({other})" for other in earlier)


STAGES = (
    Stage(name="install", share_seconds=180, slow_share_seconds=300, command=("scripts/setup",), is_needed=True),
    Stage(name="check", share_seconds=120, slow_share_seconds=120, command=("scripts/check",)),
    # These share nothing, so every processor takes its part.
    Stage(
        name="fast",
        share_seconds=180,
        slow_share_seconds=600,
        command=_pytest(f"not ({' or '.join(_PLACES)})", "--numprocesses=auto", "--dist=worksteal"),
    ),
    # On virtual time: how long it takes changes nothing of what it does. With the slow tests it has what the others leave, and longer.
    Stage(name="simulation", share_seconds=120, slow_share_seconds=2400, command=_pytest(_only("simulation")), beside="lab"),
    Stage(name="stores", share_seconds=120, slow_share_seconds=480, command=_pytest(_only("postgres or nats"), *_TWO)),
    Stage(name="lab", share_seconds=300, slow_share_seconds=1800, command=_pytest(_only("lab"), *_TWO)),
    Stage(name="clients", share_seconds=180, slow_share_seconds=300, command=_pytest(_only("clients"), *_TWO)),
    Stage(
        name="tempest",
        share_seconds=120,
        slow_share_seconds=900,
        command=("scripts/tempest", "--junit-xml={results}"),
        only_part=("--smoke",),
    ),
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


class Run:
    """One run of stages.

    :param patience: every share and the limit are multiplied by it.
    :param limit_seconds: what all of them may take; None = LIMIT_SECONDS.
    """

    def __init__(
        self,
        *,
        patience: float = 1.0,
        environ: Mapping[str, str] | None = None,
        has_slow: bool = False,
        limit_seconds: float | None = None,
    ) -> None:
        self._patience = patience
        self._environ = dict(os.environ if environ is None else environ)
        self._has_slow = has_slow
        self.limit_seconds = (LIMIT_SECONDS[has_slow] if limit_seconds is None else limit_seconds) * patience
        self._began = time.monotonic()
        self._is_over = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self._began

    @property
    def is_late(self) -> bool:
        """Whether it has taken longer than it may."""
        return self.seconds > self.limit_seconds

    def perform(self, stages: Sequence[Stage]) -> list[Outcome]:
        """Run the stages in order; what a needed one lacks ends the run."""
        RESULTS.mkdir(exist_ok=True)
        names = {stage.name for stage in stages}
        aside = [stage for stage in stages if self._has_slow and stage.beside in names]
        outcomes: list[Outcome] = []
        waiting: list[tuple[Stage, futures.Future[Outcome]]] = []
        with futures.ThreadPoolExecutor(1) as pool:
            try:
                for stage in stages:
                    if stage in aside:
                        continue
                    others = [other for other in aside if other.beside == stage.name]
                    waiting += [(other, pool.submit(self.run_stage, other, log=_log_of(other))) for other in others]
                    self._head(stage, others)
                    outcomes.append(self.run_stage(stage))
                    _foot(outcomes[-1])
                    if stage.is_needed and not outcomes[-1].is_good:
                        break
                for other, outcome in waiting:
                    outcomes.append(outcome.result())
                    self._head(other)
                    print(_log_of(other).read_text(errors="replace") if _log_of(other).exists() else "", flush=True)
                    _foot(outcomes[-1])
            except BaseException:
                self._end()
                raise
        # Not there yet: a stage without tests says nothing, so it has no line either.
        told = [one for one in outcomes if one.has_tests or one.trouble or (one.seconds and not _is_pytest(one.stage))]
        return sorted(told, key=lambda outcome: stages.index(outcome.stage))

    def _end(self) -> None:
        """Stop what still runs."""
        self._is_over.set()
        for process in self._processes:
            if process.poll() is None:
                stop(process)

    def _head(self, stage: Stage, others: Sequence[Stage] = ()) -> None:
        beside = f"; from now on beside the others: {', '.join(one.name for one in others)}" if others else ""
        print(f"\n=== {stage.name} (share {self._share(stage):g} s){beside}", flush=True)

    def _share(self, stage: Stage) -> float:
        return stage.share(has_slow=self._has_slow) * self._patience

    def run_stage(self, stage: Stage, *, log: pathlib.Path | None = None) -> Outcome:
        """Run one stage to its end, to the end of its share, or to that of the whole run's time.

        :param log: where it writes, being one that runs beside another; None = to everybody.
        """
        outcome = Outcome(stage=stage, share_seconds=self._share(stage))
        results = RESULTS / f"{stage.name}.xml"
        results.unlink(missing_ok=True)
        command = self._command(stage, results)
        if not shutil.which(command[0]) or self._is_over.is_set():
            return outcome
        left = self.limit_seconds - self.seconds
        if left <= 0:
            outcome.trouble = f"was not begun: the {self.limit_seconds:g} s for all stages were over"
            return outcome
        started, is_interrupted = time.monotonic(), False
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("wb")) if log else None
            # What runs beside another gets what that one leaves.
            words = ["nice", "-n", "19", *command] if log else command
            process = subprocess.Popen(words, env=self._environ, start_new_session=True, stdout=output, stderr=output)
            self._processes.append(process)
            if self._is_over.is_set():
                stop(process)
            try:
                status = process.wait(timeout=min(outcome.share_seconds, left))
                if status not in (0, _NO_TESTS) or (status == _NO_TESTS and not _is_pytest(stage)):
                    outcome.trouble = f"{command[0]} ended with {status}"
            except subprocess.TimeoutExpired:
                whose = f"its share of {outcome.share_seconds:g} s" if outcome.share_seconds <= left else f"the {left:.0f} s that were left"
                outcome.trouble = f"took more than {whose} and was stopped"
                is_interrupted = True
                stop(process)
        outcome.seconds = time.monotonic() - started
        if results.exists():
            with contextlib.suppress(ET.ParseError):
                read_results(results, outcome, is_interrupted=is_interrupted)
        if outcome.failed and not is_interrupted:
            # The failed tests say it already.
            outcome.trouble = ""
        return outcome

    def _command(self, stage: Stage, results: pathlib.Path) -> list[str]:
        without = "" if self._has_slow else _WITHOUT_SLOW
        words = stage.command if self._has_slow else stage.command + stage.only_part
        return [part.replace("{results}", str(results)).replace("{without}", without) for part in words]

    def report(self, outcomes: Sequence[Outcome]) -> list[str]:
        """Return the lines that tell how it went; the last one holds the totals."""
        return _report(outcomes, self.seconds, self.limit_seconds)


def _foot(outcome: Outcome) -> None:
    if outcome.trouble:
        print(f"stage {outcome.stage.name} FAILED: {outcome.trouble}", flush=True)
    elif not outcome.has_tests and _is_pytest(outcome.stage):
        print("no tests", flush=True)


def _log_of(stage: Stage) -> pathlib.Path:
    return RESULTS / f"{stage.name}.log"


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


def _report(outcomes: Sequence[Outcome], seconds: float, limit_seconds: float) -> list[str]:
    lines = ["", f"{'stage':<12} {'seconds':>8} {'share':>6} {'passed':>7} {'failed':>7} {'skipped':>8}"]
    for outcome in outcomes:
        counts = (outcome.passed, outcome.failed, outcome.skipped) if outcome.has_tests else ("", "", "")
        lines.append(
            f"{outcome.stage.name:<12} {outcome.seconds:>8.1f} {outcome.share_seconds:>6g} "
            f"{counts[0]:>7} {counts[1]:>7} {counts[2]:>8}" + ("" if outcome.is_good else "  FAILED")
        )
    is_late = seconds > limit_seconds
    lines.append(f"{'all':<12} {seconds:>8.1f} {limit_seconds:>6g}" + ("  FAILED" if is_late else ""))
    slowest = sorted((item for outcome in outcomes for item in outcome.slowest), reverse=True)[:SLOWEST_SHOWN]
    if slowest:
        lines += ["", "slowest tests:", *(f"{duration:>8.2f} s  {name}" for duration, name in slowest)]
    skips = [item for outcome in outcomes for item in outcome.skips]
    if skips:
        lines += ["", "skipped:", *(f"  {name}: {why}" for name, why in skips)]
    lines += [f"stage {outcome.stage.name} FAILED: {outcome.trouble}" for outcome in outcomes if outcome.trouble]
    if is_late:
        lines.append(f"FAILED: all of it took {seconds:.0f} s, and may take {limit_seconds:g} s")
    # A stage that failed without a failed test (stopped, crashed, a lint) must not vanish from the totals.
    failed = sum(outcome.failed + (1 if outcome.trouble else 0) for outcome in outcomes) + is_late
    passed, skipped = sum(outcome.passed for outcome in outcomes), sum(outcome.skipped for outcome in outcomes)
    return [*lines, "", f"{passed} passed, {failed} failed, {skipped} skipped"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages named, or all."""
    # A run in the background of a script inherits an ignored SIGINT, and so would every stage and every test that interrupts something.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="scripts/run_stages.py", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(stage.name for stage in STAGES)}; default: all")
    parser.add_argument(
        "--patience", type=float, default=1.0, metavar="FACTOR", help="multiply every share and the limit, for a slower machine"
    )
    parser.add_argument("--slow", action="store_true", help="run the tests marked slow, too")
    options = parser.parse_args(arguments)
    known = {stage.name: stage for stage in STAGES}
    unknown = [name for name in options.stages if name not in known]
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; the stages are {', '.join(known)}")
    run = Run(patience=options.patience, has_slow=options.slow)
    outcomes = run.perform([known[name] for name in options.stages] or STAGES)
    is_late = run.is_late
    print("\n".join(run.report(outcomes)), flush=True)
    return 0 if outcomes and not is_late and all(outcome.is_good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
