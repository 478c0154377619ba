# SPDX-License-Identifier: Apache-2.0
"""The demo's directory: one run at a time, nothing of an earlier one, nothing left."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

import pytest

from wherry.testing.demo import errors, process
from wherry.testing.lab import command, processes


@pytest.fixture(autouse=True)
def _own_tmp(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_private_and_gone_afterwards() -> None:
    with process.Workplace("one") as place:
        assert place.path.stat().st_mode & 0o777 == 0o700
        (place.path / "state").mkdir()
        (place.path / "state" / "file").write_text("x")
        place.log.write_text("\n".join(str(number) for number in range(40)))
        assert place.log_tail(2) == "38\n39"
    assert not place.path.exists()


def test_a_second_run_is_refused_and_the_first_one_keeps_its_files() -> None:
    with process.Workplace("one") as place:
        place.log.write_text("first")
        with pytest.raises(errors.DemoFailed, match="in use"), process.Workplace("one"):
            pass
        assert place.log.read_text() == "first"


def test_what_is_no_directory_of_ours_is_refused(tmp_path: pathlib.Path) -> None:
    place = process.Workplace("one")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "keep").write_text("x")
    place.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.DemoFailed, match="not a directory of this user"), place:
        pass
    assert (tmp_path / "elsewhere" / "keep").exists()


def test_a_process_that_a_crash_left_is_ended_and_no_other() -> None:
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen(argv) as left, subprocess.Popen(argv) as other:
        try:
            crashed = process.Workplace("one")
            crashed.path.mkdir()
            known = processes.identify(left.pid)
            assert known is not None
            (crashed.path / "wherry.pid").write_text(f"{processes.boot_id()} {left.pid} {known.started_ticks}\n")
            with process.Workplace("one") as place:
                command.wait_until(lambda: left.poll() is not None, "the left process to end", timeout_seconds=5)
                assert list(place.path.iterdir()) == []
            assert other.poll() is None
        finally:
            for each in (left, other):
                each.kill()
