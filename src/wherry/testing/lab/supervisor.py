# SPDX-License-Identifier: Apache-2.0
"""The parent of everything on one lab host: makes the namespaces, starts libvirtd and reaps what dies.

Must not import anything outside the standard library: it runs as a file of its own, in isolated mode, so that it starts in a few
milliseconds and needs neither the package nor the process that launched it.

Two processes stay. The outer one holds the namespaces and dies only with the inner one; the inner one is the first process of the
host's own pid namespace, so QEMU's orphans fall to it and are reaped at once (a slow pid 1 makes libvirt wait for seconds), and
killing it kills everything on the host, which is what a power cut is. SIGUSR1 to the inner one starts libvirtd if none runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import sys
import typing

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

#: How often new QEMU processes are looked for, to give them the lowest priority.
NICE_INTERVAL_SECONDS = 0.2
LOWEST_PRIORITY = 19

libc = ctypes.CDLL(None, use_errno=True)
Spec = dict[str, typing.Any]


def checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, where: str, kind: str, flags: int, data: str = "") -> None:
    checked(libc.mount(source.encode(), where.encode(), kind.encode(), flags, data.encode() or None), f"mount {where}")


def write_pid_file(path: str, pid: int) -> None:
    """Boot id, pid and start time, in one step."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    started = stat.rpartition(")")[2].split()[19]
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    draft = pathlib.Path(path + ".new")
    draft.write_text(f"{boot} {pid} {started}\n")
    draft.rename(path)


def enter_host(spec: Spec) -> None:
    """Make what the host sees: its name, its own /proc, /sys and /run, and its directories."""
    # Mounts of the inner process alone: the outer one goes on reading this machine's /proc.
    checked(libc.unshare(CLONE_NEWNS), "unshare mounts")
    socket.sethostname(spec["hostname"])
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # A new /sys, because the old one shows the network devices of another namespace.
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    pathlib.Path("/run/lock").mkdir()
    for source, where in spec["binds"]:
        mount(source, where, "", MS_BIND)


def is_dead(pid: int) -> bool:
    """Whether a child has ended, reaped or not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


class Init:
    """The first process of the host."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.daemon_pid = 0
        self.niced: set[int] = set()

    def run(self) -> None:
        awaited = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        while True:
            arrived = signal.sigtimedwait(awaited, NICE_INTERVAL_SECONDS)
            number = arrived.si_signo if arrived else 0
            if number == signal.SIGTERM:
                return
            # In both cases: signals of one kind merge, and a start asked for may come together with a death.
            self.reap()
            if number == signal.SIGUSR1:
                self.start_daemon()
            self.nice_guests()

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.daemon_pid:
                    self.daemon_pid = 0

    def start_daemon(self) -> None:
        if self.daemon_pid and is_dead(self.daemon_pid):
            # A killed process shows as a zombie before its last thread is gone, and cannot be reaped until then.
            os.waitpid(self.daemon_pid, 0)
            self.daemon_pid = 0
        if self.daemon_pid or not self.spec["daemon"]:
            return
        log = self.spec["daemon_log"]
        writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.daemon_pid = os.posix_spawn(
            self.spec["daemon"][0],
            self.spec["daemon"],
            self.spec["environment"],
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, writing, 0o644),
                (os.POSIX_SPAWN_OPEN, 2, log, writing, 0o644),
            ],
            setsigmask=[],
            setsid=True,
        )

    def nice_guests(self) -> None:
        """Give QEMU what processor time others leave: the control plane under test must not wait for its guests."""
        seen = set()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if not (process / "comm").read_text().startswith("qemu-system"):
                    continue
                for thread in (process / "task").iterdir():
                    seen.add(int(thread.name))
                    if int(thread.name) not in self.niced:
                        os.setpriority(os.PRIO_PROCESS, int(thread.name), LOWEST_PRIORITY)
        self.niced = seen


def hold(spec: Spec, ready: int) -> int:
    """Be the outer process: make the namespaces, start the inner process, wait for its end."""
    checked(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl subreaper")
    checked(libc.unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID), "unshare")
    entered_read, entered_write = os.pipe()
    init_pid = os.fork()
    if init_pid == 0:
        checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl death signal")
        os.close(entered_read)
        os.close(ready)
        report(entered_write, lambda: enter_host(spec))
        Init(spec).run()
        return 0
    os.close(entered_write)
    write_pid_file(spec["pid_file"], os.getpid())
    write_pid_file(spec["init_pid_file"], init_pid)
    os.write(ready, read_all(entered_read) or b"the host's first process died at once")
    os.close(ready)
    os.waitpid(init_pid, 0)
    return 0


def report(pipe: int, action: typing.Callable[[], None]) -> None:
    """Do it and say through the pipe how it went."""
    try:
        action()
    except OSError as problem:
        os.write(pipe, str(problem).encode())
        raise
    os.write(pipe, b"ready")
    os.close(pipe)


def read_all(pipe: int) -> bytes:
    collected = b""
    while chunk := os.read(pipe, 4096):
        collected += chunk
    return collected


def main() -> int:
    """Leave a daemon behind and return when it is ready."""
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
    ready_read, ready_write = os.pipe()
    if os.fork() != 0:
        os.close(ready_write)
        # The limit is the caller's; this one only keeps a broken start from waiting for ever.
        readable, _, _ = select.select([ready_read], [], [], 30)
        said = read_all(ready_read) if readable else b"it did not become ready within 30 s"
        if said == b"ready":
            return 0
        sys.stderr.write((said.decode() or "it died at once") + "\n")
        return 1
    os.close(ready_read)
    os.setsid()
    os.chdir("/")
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        return hold(spec, ready_write)
    except OSError as problem:
        with contextlib.suppress(OSError):
            os.write(ready_write, str(problem).encode())
        raise


if __name__ == "__main__":
    sys.exit(main())
