# SPDX-License-Identifier: Apache-2.0
"""`wherry all-in-one` as a process of its own, in a directory of its own.

Must not leave it running: the directory remembers it, so that a later start ends what a crash left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import typing

from wherry.testing import lab as labs
from wherry.testing.demo import api, errors, site
from wherry.testing.lab import command, processes

START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 12.0
POLL_SECONDS = 0.02


class Workplace:
    """A directory of this user's, locked: the configuration, the database and the log of one all-in-one at a time.

    :param parent: where it is made, and stays until it is used again; without it, it lies among the temporary files, and goes.
    """

    def __init__(self, name: str, parent: pathlib.Path | None = None) -> None:
        self.path = parent / name if parent else pathlib.Path(tempfile.gettempdir()) / f"{name}-{os.geteuid()}"
        self._is_kept = parent is not None
        self.log = self.path / "wherry.log"
        self._lock: int | None = None

    def __enter__(self) -> typing.Self:
        """Take the directory, end what an earlier run left in it, and empty it.

        :raises DemoFailed: it is in use, or somebody else's.
        """
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        found = self.path.lstat()
        if not self.path.is_dir() or self.path.is_symlink() or found.st_uid != os.geteuid():
            raise errors.DemoFailed(f"{self.path} is not a directory of this user: remove it")
        self.path.chmod(0o700)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise errors.DemoFailed(f"{self.path} is in use: another run is going on; wait for its end") from None
        self._clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: types.TracebackType | None) -> None:
        if not self._is_kept:
            self._clear()
            self.path.rmdir()
        if self._lock is not None:
            os.close(self._lock)

    def log_tail(self, lines: int = 15) -> str:
        """Give the last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _clear(self) -> None:
        left = processes.read_pid_file(self.path / "wherry.pid")
        if left is not None:
            _stop(left)
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


class AllInOne:
    """The control plane in one process, from start to stop."""

    def __init__(self, workplace: Workplace, configuration: site.Configuration) -> None:
        self._workplace = workplace
        self.file = workplace.path / "wherry.conf"
        self.url = f"http://127.0.0.1:{_free_port()}"
        own = {
            "DEFAULT": {"state_path": str(workplace.path / "state"), "report_interval_seconds": "1", "service_down_time_seconds": "5"},
            "api": {"bind_host": "127.0.0.1", "bind_port": self.url.rpartition(":")[2]},
        }
        self.file.write_text(site.render(site.merge(own, configuration)))
        #: From the start of the process to its first answer.
        self.start_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command_line(self) -> tuple[str, ...]:
        """What is run."""
        return (str(pathlib.Path(sys.executable).with_name("wherry")), "all-in-one", "--config-file", str(self.file))

    def __enter__(self) -> typing.Self:
        """Start it and wait until it answers.

        :raises DemoFailed: it ended, or did not answer in time; the message has the end of its log.
        """
        begun = time.monotonic()
        with self._workplace.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the demo, which then stops this process in order.
            self._process = subprocess.Popen(self.command_line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            self._remember()
            self._wait_for_answer(begun)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: types.TracebackType | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        (self._workplace.path / "wherry.pid").unlink(missing_ok=True)

    @property
    def process_id(self) -> int:
        """Its pid."""
        if self._process is None:
            raise errors.DemoFailed("wherry all-in-one is not running")
        return self._process.pid

    def check_alive(self) -> None:
        """Raise if it has ended."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise errors.DemoFailed(f"wherry all-in-one ended with status {status}; the end of its log:\n{self._workplace.log_tail()}")

    def _remember(self) -> None:
        running = processes.identify(self.process_id)
        if running is not None:
            text = f"{processes.boot_id()} {running.pid} {running.started_ticks}\n"
            (self._workplace.path / "wherry.pid").write_text(text)

    def _wait_for_answer(self, begun: float) -> None:
        with api.ComputeApi(self.url) as client:

            def is_answering() -> bool:
                self.check_alive()
                return client.is_answering()

            try:
                command.wait_until(is_answering, "it", timeout_seconds=START_TIMEOUT_SECONDS, interval_seconds=POLL_SECONDS)
            except labs.LabError:
                raise errors.DemoFailed(
                    f"wherry all-in-one did not answer at {self.url} within {START_TIMEOUT_SECONDS:g} s; "
                    f"the end of its log:\n{self._workplace.log_tail()}"
                ) from None
        self.start_seconds = time.monotonic() - begun


def _stop(process: processes.Process) -> None:
    """End a process that is not our child."""
    process.send(signal.SIGTERM)
    try:
        command.wait_until(lambda: not process.is_alive, "it", timeout_seconds=STOP_TIMEOUT_SECONDS)
    except labs.LabError:
        process.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
