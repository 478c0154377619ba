# SPDX-License-Identifier: Apache-2.0
"""A real Keystone as a process of its own, which can be killed, stopped and started again.

Must not be imported by production code: it runs from the environment that scripts/setup makes beside a checkout.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

#: In the current directory, which is a checkout.
PYTHON = pathlib.Path(".venv.keystone/bin/python")
HERE = pathlib.Path(__file__).parent.absolute()
START_SECONDS = 60.0
PASSWORD = "correct horse"

CONFIGURATION = """
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.sqlite
[token]
provider = fernet
expiration = 3600
[fernet_tokens]
key_repository = {directory}/tokens
[fernet_receipts]
key_repository = {directory}/receipts
[credential]
key_repository = {directory}/credentials
[cache]
# As in production, but in the process: without it each validation reads the roles from the database nine times, 0.3 s in all.
enabled = true
backend = dogpile.cache.memory
[identity]
# The fewest there are: tests log in often.
password_hash_rounds = 4
"""


def missing() -> str | None:
    """Say what is missing to run it, None when nothing is."""
    return None if PYTHON.exists() else "there is no .venv.keystone; run scripts/setup"


class Process:
    """The process, with its database and keys in a directory of its own.

    :param threads: how many requests it works on at a time. SQLite refuses one of two writers at once that have read before, which
        two that log in do; with one thread nobody is refused.
    """

    def __init__(self, directory: pathlib.Path, threads: int = 8) -> None:
        self._threads = threads
        for name in ("tokens", "receipts", "credentials"):
            (directory / name).mkdir(mode=0o700)
        self.config_file = directory / "keystone.conf"
        self.config_file.write_text(CONFIGURATION.format(directory=directory))
        self._directory = directory
        self._requests = directory / "requests"
        self._requests.touch()
        self._listener: socket.socket | None = _listen(0)
        self._port = self._listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/v3"
        # Kept connections would hold requests back while it is stopped or killed.
        self.http = httpx.Client(timeout=30.0, headers={"Connection": "close"})

    def bootstrap(self) -> None:
        """Make database, keys and administrator."""
        with (self._directory / "bootstrap.log").open("wb") as log:
            command = [str(PYTHON.absolute()), "-P", str(HERE / "bootstrap.py"), str(self.config_file), PASSWORD, self.url]
            subprocess.run(command, stdout=log, stderr=log, check=True, timeout=START_SECONDS)

    def launch(self) -> None:
        """Start it; `wait` says when it answers."""
        listener = self._listener or _listen(self._port)
        with (self._directory / "stdout").open("ab") as log:
            command = [
                str(PYTHON.absolute()),
                "-P",
                str(HERE / "serve.py"),
                str(listener.fileno()),
                str(self._requests),
                str(self._threads),
            ]
            environ = {**os.environ, "OS_KEYSTONE_CONFIG_DIR": str(self._directory)}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, pass_fds=[listener.fileno()])
        # While ours is open too, connections to a dead Keystone would not be refused.
        listener.close()
        self._listener = None

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        pause = selectors.DefaultSelector()
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if self.http.get(self.url).status_code == 200:
                    return
            assert self._process is not None and self._process.poll() is None, (self._directory / "stdout").read_text()[-4000:]
            assert time.monotonic() < deadline, f"Keystone did not answer within {START_SECONDS:g} s"
            pause.select(0.05)

    def kill(self) -> None:
        """End it as a power failure does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it take connections and answer nothing meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self.http.close()

    def requests(self, start: str) -> int:
        """Count the requests so far that start so: "GET /v3/auth/tokens"."""
        return sum(line.startswith(start) for line in self._requests.read_text().splitlines())

    def log_in(self, user: Mapping[str, Any], scope: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Ask for a token."""
        identity = {"methods": ["password"], "password": {"user": {**user, "password": PASSWORD}}}
        auth = {"identity": identity} if scope is None else {"identity": identity, "scope": scope}
        answer = self.http.post(f"{self.url}/auth/tokens", json={"auth": auth}, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener
