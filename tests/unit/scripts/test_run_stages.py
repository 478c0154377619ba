# SPDX-License-Identifier: Apache-2.0
"""The stage runner: shares are enforced, totals are complete, the last line is the totals."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import sys
import time

import pytest

from scripts import run_stages
from scripts.run_stages import Stage

PASSING = "def test_a(): pass\n"
FAILING = "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip(reason='because')\ndef test_c(): pass\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Work in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_stages, "STOPS", ((signal.SIGINT, 3.0), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)))
    return tmp_path


def _pytest_stage(directory: pathlib.Path, name: str, source: str, share: float = 60) -> Stage:
    (directory / f"test_{name}.py").write_text(source)
    # A link with pytest's name, because that is how the runner knows a stage of tests.
    program = directory / "pytest"
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pytest -p no:cacheprovider -p no:asyncio -p no:timeout "$@"\n')
        program.chmod(0o755)
    return Stage(name=name, share_seconds=share, command=(str(program), "-qq", "--junit-xml={results}", f"test_{name}.py"))


def _script_stage(name: str, script: str, *, share: float = 30, is_needed: bool = False) -> Stage:
    return Stage(name=name, share_seconds=share, command=("/bin/sh", "-c", script), is_needed=is_needed)


def test_totals_of_all_stages_are_added(directory: pathlib.Path) -> None:
    outcomes = run_stages.run([_pytest_stage(directory, "one", PASSING), _pytest_stage(directory, "two", FAILING)])
    lines = run_stages.report(outcomes)
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    assert [outcome.is_good for outcome in outcomes] == [True, False]
    assert any("test_c" in line and "because" in line for line in lines)
    assert any(line.endswith("FAILED") and line.startswith("two") for line in lines)


@pytest.mark.parametrize(("has_slow", "shown"), [(False, "all --smoke"), (True, "all ")])
def test_a_stage_with_a_shorter_form_runs_whole_where_the_slow_tests_are_asked_for(
    directory: pathlib.Path, has_slow: bool, shown: str
) -> None:
    stage = Stage(name="both", share_seconds=30, command=("/bin/sh", "-c", 'echo "all $*" > shown', "sh"), only_part=("--smoke",))
    run_stages.run([stage], has_slow=has_slow)
    assert (directory / "shown").read_text().rstrip("\n") == shown


def test_a_stage_over_its_share_is_stopped_and_fails(directory: pathlib.Path) -> None:
    source = "import threading\ndef test_a(): pass\ndef test_b(): threading.Event().wait(60)\n"
    started = time.monotonic()
    (outcome,) = run_stages.run([_pytest_stage(directory, "slow", source, share=6)])
    assert time.monotonic() - started < 25
    lines = run_stages.report([outcome])
    assert "stage slow FAILED: took more than its share of 6 s and was stopped, after test_slow::test_a" in lines
    # pytest was interrupted, not killed, so what had passed by then is still counted.
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"


def test_a_stage_that_ignores_the_interrupt_is_ended_with_its_children(directory: pathlib.Path) -> None:
    script = "trap '' INT TERM; sleep 60 & echo $! > child; wait; wait"
    (outcome,) = run_stages.run([_script_stage("stubborn", script, share=1)])
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
    outcomes = run_stages.run([_pytest_stage(directory, "empty", ""), _pytest_stage(directory, "one", PASSING)])
    assert [outcome.stage.name for outcome in outcomes] == ["one"]


def test_a_stage_whose_program_does_not_exist_yet_is_left_out() -> None:
    assert run_stages.run([Stage(name="tempest", share_seconds=1, command=("scripts/tempest",))]) == []


def test_a_failing_command_counts_as_failed() -> None:
    lines = run_stages.report(run_stages.run([_script_stage("check", "exit 3")]))
    assert "stage check FAILED: /bin/sh ended with 3" in lines
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_broken_collection_counts_as_failed(directory: pathlib.Path) -> None:
    lines = run_stages.report(run_stages.run([_pytest_stage(directory, "broken", "import nowhere_at_all\n")]))
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_what_a_needed_stage_lacks_ends_the_run(directory: pathlib.Path) -> None:
    outcomes = run_stages.run([_script_stage("install", "exit 1", is_needed=True), _script_stage("later", "touch ran")])
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
    assert run_stages.report(run_stages.run([stage], has_slow=has_slow))[-1] == f"{passed} passed, 0 failed, 0 skipped"


def test_every_stage_of_tests_knows_how_to_leave_them_out() -> None:
    marks = [stage.command[-1] for stage in run_stages.STAGES if stage.command[0].endswith("pytest")]
    assert marks
    assert all(one.endswith("{without}") for one in marks)
