# SPDX-License-Identifier: Apache-2.0
"""A nats-server of one's own on a free port, which it keeps when it is started again. Debian: apt-get install nats-server."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
import typing

from wherry.testing.fleet import program

_HOST = "127.0.0.1"
_SECONDS = 10.0


def find_program() -> str | None:
    """Give the path of the server; None when there is none."""
    # Debian installs it where only root's PATH leads.
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")


def why_unavailable() -> str | None:
    """Say why no server can be started here; None when one can."""
    return None if find_program() else "nats-server is not installed; on Debian: apt-get install nats-server"


class Nats:
    """One server.

    :param configuration: lines of its configuration file.
    """

    def __init__(self, directory: pathlib.Path, configuration: str = "") -> None:
        self.port = program.free_port()
        self.log = directory / "nats.log"
        self._file = directory / "nats.conf"
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> typing.Self:
        self._file.write_text(self._configuration)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """What [bus] transport_url names it."""
        return f"nats://{_HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        if self._process is None:
            raise program.FleetError("nats-server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, again perhaps, and wait until it takes connections."""
        found = find_program()
        if found is None:
            raise program.FleetError(str(why_unavailable()))
        arguments = [found, "-a", _HOST, "-p", str(self.port), "-c", str(self._file)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        program.until(self._is_listening, f"nats-server to listen; its log ends:\n{program.tail(self.log)}", seconds=_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(_SECONDS)

    def suspend(self) -> None:
        """Have it do nothing, its connections open: as behind a link that is cut."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise program.FleetError("nats-server does not run")
        self._process.send_signal(number)

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_HOST, self.port)) == 0
