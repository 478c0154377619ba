# SPDX-License-Identifier: Apache-2.0
"""The command line as a whole."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    """As `wherry config | head` does, where head is gone before all is written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "wherry.cmd.main", "config"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_section_that_does_not_exist_is_told_in_one_line(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "wherry.conf"
    file.write_text("[nonsense]\nx = 1\n")
    ended = subprocess.run(
        [sys.executable, "-m", "wherry.cmd.main", "config", "--config-file", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("wherry: ") and ended.stderr.count("\n") == 1 and ended.stderr.endswith(".\n")
