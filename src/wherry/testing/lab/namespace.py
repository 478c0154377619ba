# SPDX-License-Identifier: Apache-2.0
"""One set of namespaces with its supervisor: made, entered and destroyed.

Must not know whether it holds a hypervisor host or the lab's switch.
"""

from __future__ import annotations

import collections.abc
import json
import pathlib
import signal
import subprocess
import sys

from wherry.testing.lab import command, errors, processes

SUPERVISOR = pathlib.Path(__file__).with_name("supervisor.py")
START_TIMEOUT_SECONDS = 30.0


class Namespace:
    """Network, mount, process, host name and IPC namespaces under one first process."""

    def __init__(self, directory: pathlib.Path, run_directory: pathlib.Path) -> None:
        self.directory = directory
        #: Where pid files are: apart from the lab's files, so that a lab whose directory was deleted can still be taken down.
        self.run_directory = run_directory

    @property
    def init(self) -> processes.Process | None:
        """The first process inside, if it runs."""
        return processes.read_pid_file(self._pid_file("init"))

    def require_init(self) -> processes.Process:
        """Return the first process inside.

        :raises LabError: there is none.
        """
        if (init := self.init) is None:
            raise errors.LabError(f"{self.directory.name} is down: bring the lab up first")
        return init

    def start(self, *, hostname: str, binds: list[tuple[pathlib.Path, str]], daemon: list[str]) -> None:
        """Make the namespaces; the daemon is started later, by start_daemon."""
        spec = {
            "hostname": hostname,
            "binds": [[str(source), where] for source, where in binds],
            "daemon": daemon,
            "daemon_log": str(self.directory / "daemon.log"),
            "environment": command.ENVIRONMENT,
            "pid_file": str(self._pid_file("supervisor")),
            "init_pid_file": str(self._pid_file("init")),
            "log": str(self.directory / "supervisor.log"),
        }
        path = self.directory / "supervisor.json"
        path.write_text(json.dumps(spec, indent=2) + "\n")
        command.run([sys.executable, "-I", "-S", str(SUPERVISOR), str(path)], timeout_seconds=START_TIMEOUT_SECONDS)

    def start_daemon(self) -> None:
        """Have the first process start the daemon, unless it runs."""
        self.require_init().send(signal.SIGUSR1)

    def destroy(self) -> None:
        """Kill all that runs inside; nothing happens if nothing does."""
        kill_all([self._pid_file("init"), self._pid_file("supervisor")])

    def enter(self, argv: list[str], *, network_only: bool = False) -> list[str]:
        """Return the command that runs another one inside."""
        spaces = ["-n"] if network_only else ["-n", "-m", "-u", "-i", "-p"]
        return ["nsenter", "-t", str(self.require_init().pid), *spaces, "--", *argv]

    def run(self, argv: list[str], *, stdin: str = "", timeout_seconds: float = command.DEFAULT_TIMEOUT_SECONDS) -> str:
        """Run a command in the network namespace alone, with this machine's files."""
        return command.run(self.enter(argv, network_only=True), stdin=stdin, timeout_seconds=timeout_seconds)

    def execute(self, argv: list[str], *, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command as the host would, whatever its status."""
        return command.run_unchecked(self.enter(argv), timeout_seconds=timeout_seconds)

    def _pid_file(self, role: str) -> pathlib.Path:
        return self.run_directory / f"{self.directory.name}.{role}.pid"

    def processes(self) -> list[processes.Process]:
        """Return all that runs inside."""
        init = self.init
        return processes.in_pid_namespace_of(init) if init else []


def kill_all(pid_files: collections.abc.Iterable[pathlib.Path]) -> None:
    """Kill the processes that pid files name and wait until they are gone; a host dies with its first process."""
    found = [process for path in pid_files if (process := processes.read_pid_file(path))]
    for process in found:
        process.send(signal.SIGKILL)
    for process in found:
        process.kill()
