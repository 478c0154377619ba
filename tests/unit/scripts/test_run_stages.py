# SPDX-License-Identifier: Apache-2.0
"""The stage runner: shares are enforced, totals are complete, the last line is the totals."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import sys
import time
from typing import Any

import pytest

from scripts import run_stages
from scripts.run_stages import Stage

PASSING = "def test_a(): pass\n"
FAILING = "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip(reason='because')\ndef test_c(): pass\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Work in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_stages, "STOPS", ((signal.SIGINT, 10.0), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)))
    return tmp_path


def _pytest_stage(directory: pathlib.Path, name: str, source: str, share: float = 60) -> Stage:
    (directory / f"test_{name}.py").write_text(source)
    # A link with pytest's name, because that is how the runner knows a stage of tests.
    program = directory / "pytest"
    if not program.exists():
        # Without the plugins that are installed, whose loading takes longer than the tests.
        bare = "export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
        program.write_text(f'#!/bin/sh\n{bare}\nexec {sys.executable} -m pytest -p no:cacheprovider "$@"\n')
        program.chmod(0o755)
    return Stage(
        name=name, share_seconds=share, slow_share_seconds=share, command=(str(program), "-qq", "--junit-xml={results}", f"test_{name}.py")
    )


def _script_stage(name: str, script: str, *, share: float = 30, **more: Any) -> Stage:
    return Stage(name=name, share_seconds=share, slow_share_seconds=share, command=("/bin/sh", "-c", script), **more)


def _report(stages: list[Stage], *, has_slow: bool = False) -> list[str]:
    run = run_stages.Run(has_slow=has_slow)
    return run.report(run.perform(stages))


def test_totals_of_all_stages_are_added(directory: pathlib.Path) -> None:
    outcomes = run_stages.Run().perform([_pytest_stage(directory, "one", PASSING), _pytest_stage(directory, "two", FAILING)])
    lines = run_stages.Run().report(outcomes)
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    assert [outcome.is_good for outcome in outcomes] == [True, False]
    assert any("test_c" in line and "because" in line for line in lines)
    assert any(line.endswith("FAILED") and line.startswith("two") for line in lines)


@pytest.mark.parametrize(("has_slow", "shown"), [(False, "all --smoke"), (True, "all ")])
def test_a_stage_with_a_shorter_form_runs_whole_where_the_slow_tests_are_asked_for(
    directory: pathlib.Path, has_slow: bool, shown: str
) -> None:
    stage = dataclasses.replace(_script_stage("both", 'echo "all $*" > shown'), only_part=("sh", "--smoke"))
    run_stages.Run(has_slow=has_slow).perform([stage])
    assert (directory / "shown").read_text().rstrip("\n") == shown


def test_a_stage_over_its_share_is_stopped_and_fails(directory: pathlib.Path) -> None:
    source = "import threading\ndef test_a(): pass\ndef test_b(): threading.Event().wait(60)\n"
    started = time.monotonic()
    (outcome,) = run_stages.Run().perform([_pytest_stage(directory, "slow", source, share=4)])
    assert time.monotonic() - started < 25
    lines = run_stages.Run().report([outcome])
    assert "stage slow FAILED: took more than its share of 4 s and was stopped, after test_slow::test_a" in lines
    # pytest was interrupted, not killed, so what had passed by then is still counted.
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"


def test_a_stage_has_another_share_with_the_slow_tests() -> None:
    stage = dataclasses.replace(_script_stage("long", "sleep 60", share=30), slow_share_seconds=0.2)
    assert "stage long FAILED: took more than its share of 0.2 s and was stopped" in _report([stage], has_slow=True)


def test_stages_that_take_longer_together_than_they_may_are_stopped_and_fail(directory: pathlib.Path) -> None:
    run = run_stages.Run(limit_seconds=0.5)
    stages = [_script_stage("quick", "true"), _script_stage("long", "sleep 60"), _script_stage("last", "touch ran")]
    lines = run.report(run.perform(stages))
    assert run.is_late
    assert not (directory / "ran").exists()
    assert any(line.startswith("stage long FAILED: took more than the ") and "that were left" in line for line in lines), lines
    assert any(line.startswith("all ") and line.endswith("0.5  FAILED") for line in lines), lines
    assert any(line.startswith("FAILED: all of it took ") for line in lines)
    assert lines[-1] == "0 passed, 3 failed, 0 skipped"


def test_a_whole_run_that_is_too_long_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Though each stage was within its share."""
    monkeypatch.setattr(run_stages, "STAGES", (_script_stage("one", "true"), _script_stage("two", "true")))
    assert run_stages.main([]) == 0
    monkeypatch.setattr(run_stages, "LIMIT_SECONDS", {False: 0.0, True: 1.0})
    assert run_stages.main([]) == 1
    assert "FAILED: all of it took" in capsys.readouterr().out


@pytest.mark.parametrize("has_slow", [False, True])
def test_a_stage_runs_beside_another_only_with_the_slow_tests(
    directory: pathlib.Path, has_slow: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each waits for the other: only side by side both end well. The one that yields is the nicer one, and speaks afterwards."""
    waits = f"touch $0; for i in $(seq {100 if has_slow else 3}); do test -e {{}} && exit 0; sleep 0.1; done; exit 1"
    aside = _script_stage("aside", f"echo nice $(nice) of aside; {waits.format('main')}", beside="main")
    main = _script_stage("main", f"echo nice $(nice) of main; {waits.format('aside')}")
    stages = [dataclasses.replace(one, command=(*one.command, one.name)) for one in (aside, main)]
    outcomes = run_stages.Run(has_slow=has_slow).perform(stages)
    assert [outcome.stage.name for outcome in outcomes] == ["aside", "main"]
    assert [outcome.is_good for outcome in outcomes] == ([True, True] if has_slow else [False, True])
    written = capfd.readouterr().out
    own = os.nice(0)
    assert f"nice {own} of main" in written
    assert f"nice {min(19, own + 19) if has_slow else own} of aside" in written
    assert (written.index("of main") < written.index("of aside")) is has_slow


def test_a_stage_that_would_run_beside_one_that_is_not_asked_for_runs_alone() -> None:
    (outcome,) = run_stages.Run(has_slow=True).perform([_script_stage("aside", "true", beside="main")])
    assert outcome.is_good


def test_an_interrupt_ends_the_stage_aside_too(directory: pathlib.Path) -> None:
    beaten = "echo $$ > aside.pid; sleep 60"
    stages = [
        _script_stage("aside", beaten, beside="main"),
        _script_stage("main", "while ! test -s aside.pid; do sleep 0.05; done; kill -INT $PPID; sleep 60"),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_stages.Run(has_slow=True).perform(stages)
    assert not _is_alive(int((directory / "aside.pid").read_text()))


def test_a_stage_that_ignores_the_interrupt_is_ended_with_its_children(directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_stages, "STOPS", ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)))
    script = "trap '' INT TERM; sleep 60 & echo $! > child; wait; wait"
    (outcome,) = run_stages.Run().perform([_script_stage("stubborn", script, share=1)])
    assert "share of 1 s" in outcome.trouble
    pid = int((directory / "child").read_text())
    deadline = time.monotonic() + 5
    while _is_alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_stage_without_tests_is_left_out(directory: pathlib.Path) -> None:
    outcomes = run_stages.Run().perform([_pytest_stage(directory, "empty", ""), _pytest_stage(directory, "one", PASSING)])
    assert [outcome.stage.name for outcome in outcomes] == ["one"]


def test_a_stage_whose_program_does_not_exist_yet_is_left_out() -> None:
    assert run_stages.Run().perform([dataclasses.replace(_script_stage("tempest", ""), command=("scripts/tempest",))]) == []


def test_a_failing_command_counts_as_failed() -> None:
    lines = _report([_script_stage("check", "exit 3")])
    assert "stage check FAILED: /bin/sh ended with 3" in lines
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_broken_collection_counts_as_failed(directory: pathlib.Path) -> None:
    lines = _report([_pytest_stage(directory, "broken", "import nowhere_at_all\n")])
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_what_a_needed_stage_lacks_ends_the_run(directory: pathlib.Path) -> None:
    outcomes = run_stages.Run().perform([_script_stage("install", "exit 1", is_needed=True), _script_stage("later", "touch ran")])
    assert [outcome.stage.name for outcome in outcomes] == ["install"]
    assert not (directory / "ran").exists()


def test_a_test_with_several_marks_belongs_to_one_stage() -> None:
    """The marks of the stages exclude each other, so that no test runs twice."""
    commands = [stage.command for stage in run_stages.STAGES if stage.command[0].endswith("pytest")]
    expressions = [command[-1].replace("{without}", "") for command in commands]
    assert len(expressions) == 5
    for marks in ({"lab", "clients"}, {"contract", "lab"}, {"postgres", "simulation"}, {"nats"}, {"unit"}, set[str]()):
        names = {name: name in marks for name in ("lab", "clients", "postgres", "nats", "simulation")}
        chosen = [expression for expression in expressions if eval(expression, {}, dict(names))]
        assert len(chosen) == 1, (marks, chosen)


def test_an_unknown_stage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_stages.main(["labb"])
    assert "no stage labb; the stages are install, check" in capsys.readouterr().err


@pytest.mark.parametrize(("has_slow", "passed"), [(False, 1), (True, 2)])
def test_slow_tests_are_left_out_but_where_they_are_asked_for(directory: pathlib.Path, has_slow: bool, passed: int) -> None:
    """Deselected: they are not counted as skipped."""
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = slow\n    fast\n")
    stage = _pytest_stage(directory, "some", "import pytest\ndef test_a(): pass\n@pytest.mark.slow\ndef test_b(): pass\n")
    stage = dataclasses.replace(stage, command=(*stage.command, "-m", "not fast{without}"))
    assert _report([stage], has_slow=has_slow)[-1] == f"{passed} passed, 0 failed, 0 skipped"


def test_every_stage_of_tests_knows_how_to_leave_them_out() -> None:
    marks = [stage.command[-1] for stage in run_stages.STAGES if stage.command[0].endswith("pytest")]
    assert marks
    assert all(one.endswith("{without}") for one in marks)
