# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of our own: made in a temporary directory, reached by a Unix socket, gone afterwards.

Started as the user `postgres` where the caller runs as root, which the server refuses to be. Debian: apt-get install postgresql.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator

PORT = 5432
_START_SECONDS = 30


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """One running server."""

    directory: pathlib.Path
    programs: pathlib.Path
    #: What to put before a command so that it runs as the server's user.
    as_user: tuple[str, ...]
    settings: str

    def address(self, database: str) -> str:
        """Give the address of a database, for [database] connection."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.directory}&port={PORT}"

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs as its user; gives what it printed."""
        command = [*self.as_user, str(self.programs / program), *arguments]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=_START_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def control(self, command: str, *options: str) -> None:
        """Run pg_ctl and wait."""
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-t", str(_START_SECONDS), *options, command)

    def start(self) -> None:
        """Start it (again)."""
        # No TCP: nothing else on the machine can be in the way.
        settings = f"-c listen_addresses='' -k {self.directory} -p {PORT} -c max_connections=150 {self.settings}"
        self.control("start", "-l", str(self.directory / "log"), "-o", settings)

    def crash(self) -> None:
        """End it as a crash would: every connection is cut, and the next start recovers from its log."""
        self.control("stop", "-m", "immediate")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL; gives the rows, a line each, their fields divided by bars."""
        where = ("-h", str(self.directory), "-p", str(PORT), "-U", "postgres", "-d", database)
        return self.run("psql", *where, "-v", "ON_ERROR_STOP=1", "-qAtc", statement)

    @property
    def pid(self) -> int:
        """Of its first process, whose children serve the connections."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and to every process that serves a connection: SIGSTOP makes it silent, SIGCONT ends that."""
        first = self.pid
        children = pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def why_unavailable() -> str | None:
    """Say why there can be no server here; None when there can."""
    if _find_programs() is None:
        return "initdb is not installed; on Debian: apt-get install postgresql"
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        return "runuser is not installed, and PostgreSQL refuses to run as root"
    return None


@contextlib.contextmanager
def running(settings: str = "-c fsync=off") -> Iterator[Server]:
    """Make a server and start it; stop and remove it afterwards.

    :param settings: options of its command line. Without fsync: for data that is thrown away.
    """
    programs = _find_programs()
    if programs is None:
        raise LookupError("initdb is not installed")
    # Short: the path of a Unix socket may have 107 characters.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="wherry-pg-"))
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        as_user = ("runuser", "-u", "postgres", "--")
        os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)
    server = Server(directory=directory, programs=programs, as_user=as_user, settings=settings)
    try:
        server.run("initdb", "-D", str(directory / "data"), "-A", "trust", "-U", "postgres", "--no-sync", "--encoding=UTF8")
        server.start()
        try:
            yield server
        finally:
            server.crash()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _find_programs() -> pathlib.Path | None:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return pathlib.Path(on_path).resolve().parent if on_path else None
