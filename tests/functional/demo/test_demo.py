# SPDX-License-Identifier: Apache-2.0
"""The demo on simulated hosts, fast: it ends with 0 only if all it shows is true, and leaves nothing."""

from __future__ import annotations

import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import pytest

from wherry.testing.demo import play, pretended, process, show, site
from wherry.testing.lab import command, processes

#: Of the demo's own transfers the longest takes 18 simulated seconds.
TIME_FACTOR = 12.0


@pytest.fixture(autouse=True)
def _own_tmp(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


class Liar(pretended.PretendedSite):
    """A site whose hypervisors say that the guest is nowhere."""

    def look(self, guest: str, hosts: Sequence[str]) -> Sequence[site.Sighting]:
        return [site.Sighting(host=host, answers=(("look", "absent"),), is_running=False, is_absent=True) for host in hosts]


def test_every_claim_holds_on_simulated_hosts() -> None:
    stage = show.Show(out := io.StringIO())
    with process.Workplace("demo") as workplace:
        status = play.play(stage, pretended.PretendedSite(TIME_FACTOR), workplace)
    assert (status, stage.broken) == (0, []), out.getvalue()
    assert stage.claims >= 10
    assert not workplace.path.exists()


def test_a_hypervisor_that_contradicts_the_api_ends_it_with_1() -> None:
    stage = show.Show(out := io.StringIO())
    with process.Workplace("demo") as workplace:
        status = play.play(stage, Liar(TIME_FACTOR), workplace)
    assert status == 1
    assert [claim.partition("'s ")[2] for claim in stage.broken] == ["hypervisor runs it", "hypervisor still runs it", "hypervisor runs it"]
    assert "claims did NOT hold" in out.getvalue()


def test_a_signal_in_the_middle_leaves_nothing(tmp_path: pathlib.Path) -> None:
    argv = [sys.executable, "-m", "wherry.testing.demo", "--driver", "simulated"]
    output = tmp_path / "output"
    with output.open("w") as file, subprocess.Popen(argv, stdout=file, stderr=file, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as demo:
        try:
            command.wait_until(lambda: " running" in output.read_text(), "a migration to run", timeout_seconds=30)
            place = tmp_path / f"wherry-demo-{os.geteuid()}"
            wherry = processes.read_pid_file(place / "wherry.pid")
            assert wherry is not None
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(30) == 128 + signal.SIGTERM
        finally:
            demo.kill()
    assert "ended by SIGTERM" in output.read_text()
    assert not wherry.is_alive
    assert not place.exists()
