# SPDX-License-Identifier: Apache-2.0
"""Names processes so that a signal can only reach the one that is meant.

Must not look processes up by the name of their program: a process is a pid together with the time it started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal

from wherry.testing.lab import command


@dataclasses.dataclass(frozen=True)
class Process:
    """One process, as /proc of this machine shows it."""

    pid: int
    #: Start time in clock ticks since boot: tells a process from a later one with the same pid.
    started_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        found = _read_stat(self.pid)
        return found is not None and found[0] != "Z" and found[1] == self.started_ticks

    @property
    def is_stopped(self) -> bool:
        """Whether a signal has stopped it."""
        found = _read_stat(self.pid)
        return found is not None and found[0] in "Tt" and found[1] == self.started_ticks

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process is gone."""
        if not self.is_alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def kill(self, timeout_seconds: float = 10.0) -> None:
        """Kill it and wait until it is gone; nothing happens if it is."""
        if self.send(signal.SIGKILL):
            command.wait_until(lambda: not self.is_alive, f"process {self.pid} to die", timeout_seconds=timeout_seconds)

    @property
    def command_line(self) -> list[str]:
        """Its arguments; none if it is gone."""
        try:
            raw = pathlib.Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return []
        return [word.decode(errors="replace") for word in raw.split(b"\0")[:-1]]


def identify(pid: int) -> Process | None:
    """Return the process that has this pid now."""
    found = _read_stat(pid)
    return Process(pid, found[1]) if found else None


def read_pid_file(path: pathlib.Path) -> Process | None:
    """Return the process that a pid file names, if it still runs."""
    try:
        boot, pid, started = path.read_text().split()
    except (OSError, ValueError):
        return None
    process = Process(int(pid), int(started))
    return process if boot == boot_id() and process.is_alive else None


def boot_id() -> str:
    """Return the id of this boot: pids of another one mean nothing."""
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def in_pid_namespace_of(init: Process) -> list[Process]:
    """Return the processes that share the pid namespace of a host's first process."""
    try:
        wanted = os.readlink(f"/proc/{init.pid}/ns/pid")
    except OSError:
        return []
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.readlink(entry / "ns" / "pid") == wanted:
                process = identify(int(entry.name))
                if process is not None and process.is_alive:
                    found.append(process)
    return found


def _read_stat(pid: int) -> tuple[str, int] | None:
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
