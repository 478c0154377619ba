# SPDX-License-Identifier: Apache-2.0
"""One set of namespaces with its supervisor: made, entered and destroyed.

Must not know whether it holds a hypervisor host or the lab's switch.
"""

from __future__ import annotations

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

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    @property
    def init(self) -> processes.Process | None:
        """The first process inside, if it runs."""
        return processes.read_pid_file(self.directory / "init.pid")

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
            "pid_file": str(self.directory / "supervisor.pid"),
            "init_pid_file": str(self.directory / "init.pid"),
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
        # The inner process first: all that runs in its namespace is dead when it is.
        for name in ("init.pid", "supervisor.pid"):
            if process := processes.read_pid_file(self.directory / name):
                process.kill()

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

    def processes(self) -> list[processes.Process]:
        """Return all that runs inside."""
        init = self.init
        return processes.in_pid_namespace_of(init) if init else []
