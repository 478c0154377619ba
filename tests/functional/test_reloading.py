# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: `wherry all-in-one` reads its files again, goes on with what may change, and says what needs a restart."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import sys
from collections.abc import AsyncIterator

import pytest

pytestmark = pytest.mark.functional

_FILE = """
[DEFAULT]
state_path = {directory}/state
{more}
[api]
bind_port = 0
[agent]
driver = simulated
journal_fsync = false
"""


class _Process:
    """A running `wherry all-in-one`, and what it has logged."""

    def __init__(self, directory: pathlib.Path, process: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.process = process

    def write(self, more: str) -> None:
        (self.directory / "wherry.conf").write_text(_FILE.format(directory=self.directory, more=more))

    async def logged(self, sentence: str) -> str:
        """Wait for a line with this sentence."""
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            while True:
                line = (await self.process.stderr.readline()).decode()
                assert line, f"it ended without a word of {sentence!r}"
                if sentence in line:
                    return line


@pytest.fixture
async def running(tmp_path: pathlib.Path) -> AsyncIterator[_Process]:
    program = [sys.executable, "-m", "wherry.cmd.main", "all-in-one", "--config-file", str(tmp_path / "wherry.conf")]
    (tmp_path / "wherry.conf").write_text(_FILE.format(directory=tmp_path, more=""))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    one = _Process(tmp_path, process)
    await one.logged("All in one is up.")
    yield one
    process.terminate()
    assert await process.wait() == 0


async def test_a_hangup_brings_new_values_into_force(running: _Process) -> None:
    running.write("debug = true\nmigrate_max_retries = 7\nlog_format = json\n")
    running.process.send_signal(signal.SIGHUP)
    line = await running.logged("The configuration was read again.")
    assert "changed=\"['DEFAULT.debug', 'DEFAULT.migrate_max_retries']\"" in line
    assert "needs_restart=\"['DEFAULT.log_format']\"" in line


async def test_a_file_that_is_wrong_is_told_of_and_ends_nothing(running: _Process) -> None:
    running.write("migrate_max_retries = often\n")
    running.process.send_signal(signal.SIGHUP)
    line = await running.logged("The configuration cannot be read again.")
    assert "migrate_max_retries = 'often' is not accepted" in line
    running.write("migrate_max_retries = 7\n")
    running.process.send_signal(signal.SIGHUP)
    assert "DEFAULT.migrate_max_retries" in await running.logged("The configuration was read again.")
