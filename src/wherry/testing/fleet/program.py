# SPDX-License-Identifier: Apache-2.0
"""One running `wherry` program: started from a file as an operator does it, asked for its health, drained, killed, started again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from wherry.testing.demo import site

T = TypeVar("T")

#: Section -> option -> value.
Options = Mapping[str, Mapping[str, Any]]

START_SECONDS = 30.0
STOP_SECONDS = 30.0
_PROBE_SECONDS = 5.0
_never = threading.Event()


class FleetError(Exception):
    """Something that a fleet is made of did not do what it must; the message has the end of its log."""


def until(condition: Callable[[], T], what: str, *, seconds: float = START_SECONDS, interval_seconds: float = 0.03) -> T:
    """Ask until what comes back is true, and give it back.

    :raises FleetError: it did not become so in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise FleetError(f"waited {seconds:g} s for {what}")
        _never.wait(interval_seconds)


def free_port() -> int:
    """Give a TCP port of the loopback address on which nothing listens now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def tail(log: pathlib.Path, lines: int = 15) -> str:
    """Give the last lines of a log."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


class Program:
    """One `wherry COMMAND`, started as often as one likes.

    :param command: api, conductor, agent or all-in-one.
    :param name: of its files in `directory`; NAME.conf and NAME.log are written there.
    """

    def __init__(
        self, command: str, name: str, directory: pathlib.Path, options: Options, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self.name = name
        self.file, self.log = directory / f"{name}.conf", directory / f"{name}.log"
        self.health_port = free_port()
        self._options = {section: {key: str(value) for key, value in values.items()} for section, values in options.items()}
        self._environment = {**os.environ, **(environment or {})}
        port_of = "api" if command == "all-in-one" else command
        self.write("health", **{f"{port_of}_port": self.health_port})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def write(self, section: str, **changes: Any) -> None:
        """Change its file, for when it is read the next time."""
        self._options.setdefault(section, {}).update({name: str(value) for name, value in changes.items()})
        self.file.write_text(site.render(self._options))

    @property
    def options(self) -> Options:
        """What its file says."""
        return self._options

    def option(self, section: str, name: str) -> str:
        """Give what its file says."""
        return self._options[section][name]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command of `wherry` with its file, such as `db upgrade`, to its end."""
        program = [sys.executable, "-m", "wherry.cmd.main", *command, "--config-file", str(self.file)]
        return subprocess.run(program, capture_output=True, text=True, timeout=START_SECONDS, env=self._environment, check=False)

    def start(self, *, is_awaited: bool = True) -> None:
        """Start it, and wait until it is ready unless told not to."""
        if self.is_running:
            raise FleetError(f"{self.name} runs already")
        program = [sys.executable, "-m", "wherry.cmd.main", self.command, "--config-file", str(self.file)]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for who started the fleet, which then ends its programs in order.
            self._process = subprocess.Popen(
                program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=self._environment
            )
        if is_awaited:
            self.wait_ready()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it says that it is ready.

        :raises FleetError: it ended, or lacks something for so long.
        """

        def is_ready() -> bool:
            if not self.is_running:
                raise FleetError(f"{self.name} ended with status {self._running.returncode}; its log ends:\n{tail(self.log)}")
            return self.probe("/healthz/ready")[0] == 200

        try:
            until(is_ready, f"{self.name} to be ready", seconds=seconds)
        except FleetError as error:
            raise FleetError(f"{error}; it says {self.probe('/healthz/ready')}; its log ends:\n{tail(self.log)}") from None

    def probe(self, path: str) -> tuple[int, str]:
        """Ask its health port; gives status and text, status 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def lacks(self) -> list[str]:
        """Give the words for what it lacks; nothing when it is ready, "answer" when it does not even answer."""
        status, text = self.probe("/healthz/ready")
        return [one["what"] for one in json.loads(text).get("lacks", [])] if status else ["answer"]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._running.send_signal(number)

    def reconfigure(self, section: str, **changes: Any) -> None:
        """Change its file and have it read again."""
        place = self.log_size()
        self.write(section, **changes)
        self.signal(signal.SIGHUP)
        self.wait_logged("The configuration was read again.", after=place)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and wait for its end; gives its exit status.

        :raises FleetError: it did not end in time.
        """
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        self.signal(signal.SIGKILL)
        self.wait(STOP_SECONDS)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; gives its exit status.

        :raises FleetError: it did not end in time.
        """
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            raise FleetError(f"{self.name} did not end within {seconds:g} s; its log ends:\n{tail(self.log)}") from None

    def end(self) -> None:
        """End it whatever its state, in order if it does so in time."""
        if not self.is_running:
            return
        # One that was suspended would not hear anything else.
        self.signal(signal.SIGCONT)
        with contextlib.suppress(FleetError):
            self.stop()
        if self.is_running:
            self.kill()

    def wait_logged(self, sentence: str, *, seconds: float = START_SECONDS, after: int = 0) -> str:
        """Wait for a line of its log, from this place in the file on; gives the line."""

        def found() -> str:
            text = self.log.read_bytes()[after:].decode(errors="replace") if self.log.exists() else ""
            return next((line for line in text.splitlines() if sentence in line), "")

        return until(found, f"{self.name} to log {sentence!r}", seconds=seconds)

    def log_size(self) -> int:
        """Give the place in its log at which the next line will stand."""
        return self.log.stat().st_size if self.log.exists() else 0

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise FleetError(f"{self.name} was not started")
        return self._process


def end_all(programs: Sequence[Program]) -> None:
    """End programs side by side, in order if they do so in time."""
    threads = [threading.Thread(target=one.end) for one in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
