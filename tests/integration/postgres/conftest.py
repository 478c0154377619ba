# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of our own: made in a temporary directory, reached by a Unix socket, gone after the tests.

Started as the user `postgres` where the tests run as root, which the server refuses to be. Debian: apt-get install postgresql.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg  # type: ignore[import-untyped]  # ships no annotations
import pytest

from wherry.clock import LoopClock
from wherry.config import database as config_database
from wherry.db import schema
from wherry.db import store as stores
from wherry.testing import store_contract

_PORT = 5432
_START_SECONDS = 30


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """One running server."""

    directory: pathlib.Path
    programs: pathlib.Path
    #: What to put before a command so that it runs as the server's user.
    as_user: tuple[str, ...]

    def address(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@/{database}?host={self.directory}&port={_PORT}"

    def run(self, program: str, *arguments: str) -> None:
        command = [*self.as_user, str(self.programs / program), *arguments]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=_START_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    def control(self, command: str, *options: str) -> None:
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-t", str(_START_SECONDS), *options, command)

    def start(self) -> None:
        # No TCP: nothing else on the machine can be in the way. No fsync: the data is thrown away.
        settings = f"-c listen_addresses='' -k {self.directory} -p {_PORT} -c fsync=off -c max_connections=150"
        self.control("start", "-l", str(self.directory / "log"), "-o", settings)

    def sql(self, statement: str, database: str = "postgres") -> None:
        where = ("-h", str(self.directory), "-p", str(_PORT), "-U", "postgres", "-d", database)
        self.run("psql", *where, "-v", "ON_ERROR_STOP=1", "-qc", statement)


def _find_programs() -> pathlib.Path | None:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return pathlib.Path(on_path).resolve().parent if on_path else None


def _why_not(programs: pathlib.Path | None) -> str | None:
    if programs is None:
        return "initdb is not installed; on Debian: apt-get install postgresql"
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        return "runuser is not installed, and PostgreSQL refuses to run as root"
    return None


@pytest.fixture(scope="session")
def postgresql(require_real: Callable[[str, str | None], None]) -> Iterator[Server]:
    """Start a server for all tests of this directory."""
    programs = _find_programs()
    require_real("PostgreSQL", _why_not(programs))
    if programs is None:
        raise LookupError("require_real let a missing server pass")
    # Short: the path of a Unix socket may have 107 characters.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="wherry-pg-"))
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        as_user = ("runuser", "-u", "postgres", "--")
        os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)
    server = Server(directory=directory, programs=programs, as_user=as_user)
    try:
        server.run("initdb", "-D", str(directory / "data"), "-A", "trust", "-U", "postgres", "--no-sync", "--encoding=UTF8")
        server.start()
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def upgraded(postgresql: Server) -> config_database.DatabaseSection:
    """Make the database that all tests use in turn."""
    postgresql.sql("CREATE DATABASE test")
    config = config_database.DatabaseSection(connection=postgresql.address("test"))

    async def upgrade() -> None:
        store = await stores.Store.open(config, LoopClock())
        await store.upgrade()
        await store.close()

    asyncio.run(upgrade())
    return config


_KEPT = (schema.locks, schema.flavors)
#: Ends what a failed test left open, and empties every table but for what is there from the beginning.
_CLEAN = "\n".join(
    [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();",
        *(f"DELETE FROM {table.name};" for table in reversed(schema.metadata.sorted_tables) if table not in _KEPT),
        f"DELETE FROM {schema.flavors.name} WHERE name NOT LIKE 'm1.%';",
    ]
)


@pytest.fixture
async def config(postgresql: Server, upgraded: config_database.DatabaseSection) -> config_database.DatabaseSection:
    """Give an empty database with the schema. A new one for each test would take ten times as long."""
    connection = await asyncpg.connect(host=str(postgresql.directory), port=_PORT, user="postgres", database="test")
    await connection.execute(_CLEAN)
    await connection.close()
    return upgraded


@pytest.fixture
async def harness(config: config_database.DatabaseSection) -> AsyncIterator[store_contract.Harness]:
    made = store_contract.Harness(config=config)
    yield made
    await made.store.close()
