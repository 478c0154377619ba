# SPDX-License-Identifier: Apache-2.0
"""`wherry db`: says how far the schema is and what to do next."""

from __future__ import annotations

import pathlib

import pytest

from wherry.cmd import main
from wherry.db.migrations import runner


@pytest.fixture
def config_file(tmp_path: pathlib.Path) -> str:
    file = tmp_path / "wherry.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/wherry.sqlite\n")
    return str(file)


def test_check_names_the_command_until_it_was_run(config_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["db", "check", "--config-file", config_file]) == 1
    assert "The database is empty.\nRun `wherry db upgrade`: 0001_pre_first_schema, " in capsys.readouterr().out
    assert main.main(["db", "upgrade", "--config-file", config_file]) == 0
    assert main.main(["db", "check", "--config-file", config_file]) == 0


def test_expanding_leaves_what_older_processes_would_mind(
    config_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "is_after_upgrade", lambda name: not name.startswith("0001_"))
    assert main.main(["db", "upgrade", "--expand", "--config-file", config_file]) == 0
    out = capsys.readouterr().out
    assert "The schema is at 0001.\nRun `wherry db upgrade` once no process of an earlier release runs: 0002_pre_server_groups, " in out
    assert main.main(["db", "upgrade", "--config-file", config_file]) == 0
    assert "wait" not in capsys.readouterr().out
