# SPDX-License-Identifier: Apache-2.0
"""SQLite in line: each statement is a plain call on the event loop's own thread, on the one connection that there is.

Starts no thread and never gives way inside a unit of work, so that what happens is the same at each run, and one writer
never waits for another of the same process. Not for a file on a network.

With a file, units that write in the same turn of the loop are committed together: a commit waits for the disk, a unit does not.

A plain engine, not SQLAlchemy's asynchronous one with an in-line connection behind `async_creator`: nothing here waits, so nothing
needs a greenlet. Measured with SQLAlchemy 2.1 on one core: 0.10 ms against 0.66 ms for a transaction of eight statements.

What a commit is worth ([database] sqlite_synchronous), the file being in WAL mode:
- full: it is on the disk before it is answered; neither a dead process nor a power failure takes it back.
- normal: nothing is lost when a process dies, `kill -9` included, and the file never breaks; a power failure or a crash
  of the kernel may take back the last commits.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import pathlib
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import url as urls

from wherry import errors
from wherry.config import database as config_database
from wherry.db import engine as engines
from wherry.db import group_commit, kept, types

T = TypeVar("T")

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@functools.cache
def _insert_ignoring(table: sa.Table) -> sa.Insert:
    return sqlite.insert(table).on_conflict_do_nothing()


class _Dialect:
    name = "sqlite"
    writes_at_once = False

    def lease_time(self, name: str) -> sa.ColumnElement[datetime.datetime]:
        # One machine, one clock: the caller's, which may be virtual.
        return sa.bindparam(name, type_=types.UtcDateTime())

    def lease_moment(self, now: datetime.datetime, plus: datetime.timedelta = engines.NO_TIME) -> datetime.datetime | datetime.timedelta:
        return now + plus

    def insert_ignoring(self, table: sa.Table) -> sa.Insert:
        return _insert_ignoring(table)

    def upsert(self, table: sa.Table, key: Sequence[str], values: Mapping[str, Any], replaced: Sequence[str]) -> sa.Insert:
        statement = sqlite.insert(table).values(**values)
        return statement.on_conflict_do_update(index_elements=list(key), set_={name: statement.excluded[name] for name in replaced})


_DIALECT = _Dialect()
#: Of all databases of the process: each has the same text for a statement.
_PLANS = kept.Plans(pysqlite.dialect(dbapi=sqlite3))


class _Connection:
    def __init__(self, connection: sa.Connection, raw: sqlite3.Connection) -> None:
        self._connection = connection
        self._raw = raw

    async def execute(self, statement: sa.Executable, parameters: engines.Parameters | None = None) -> engines.Answer:
        plan = _PLANS.of(statement, parameters)
        if plan is None:
            return self._connection.execute(statement, parameters)
        try:
            if isinstance(parameters, Mapping):
                cursor = self._raw.execute(plan.text, plan.arguments(parameters))
            else:
                cursor = self._raw.executemany(plan.text, [plan.arguments(each) for each in parameters or ()])
            return kept.Answer(found=plan.rows(cursor.fetchall()) if plan.has_rows else [], rowcount=cursor.rowcount)
        except sqlite3.IntegrityError as error:
            # As SQLAlchemy tells of it.
            raise sa.exc.IntegrityError(plan.text, None, error) from error


class InlineSqlite:
    """The one connection to a SQLite file, or to a database in memory when the file is not named."""

    def __init__(self, config: config_database.DatabaseSection) -> None:
        self.dialect: engines.Dialect = _DIALECT
        self._config = config
        self._engine = sa.create_engine(
            urls.make_url(config.connection).set(drivername="sqlite+pysqlite"),
            poolclass=pool.StaticPool,
            connect_args={
                "timeout": config.sqlite_busy_timeout_seconds,
                "isolation_level": None,
                "check_same_thread": True,
                # More than all that there are: with sqlite3's own 128 a fifth of a simulated run went into preparing them again.
                "cached_statements": 1000,
            },
        )
        sa.event.listen(self._engine, "connect", self._set_up)
        self._plain: sa.Connection | None = None
        # In memory nothing is waited for, and each unit is over at once.
        is_file = self._engine.url.database not in (None, "", ":memory:")
        self._group = group_commit.GroupCommit(self._begin_writing, config.sqlite_group_commit_max) if is_file else None

    def _set_up(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._config.sqlite_synchronous.upper()}")
        connection.execute("PRAGMA foreign_keys = ON")
        # As on PostgreSQL.
        connection.execute("PRAGMA case_sensitive_like = ON")
        # 64 MiB, in KiB: the pages of ten thousand servers and their history.
        connection.execute("PRAGMA cache_size = -65536")

    def _open(self) -> tuple[sa.Connection, sqlite3.Connection]:
        if self._plain is None:
            # SQLAlchemy's own transaction is never begun: ours is, in words, because it must say IMMEDIATE.
            try:
                self._plain = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_CANTOPEN:
                    raise
                file = pathlib.Path(self._engine.url.database or "")
                why = "may this process write there?" if file.parent.is_dir() else f"there is no directory {file.parent}"
                raise engines.Troubled(engines.Trouble.UNAVAILABLE, OSError(f"{file} cannot be opened: {why}")) from error
            except sa.exc.DatabaseError as error:
                if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB:
                    raise
                raise errors.ConfigInvalid(
                    where="[database] connection",
                    problem=f"{self._engine.url.database} is no SQLite database",
                    instead="Name a file that Wherry made, or one that does not exist yet.",
                ) from error
        return self._plain, cast("sqlite3.Connection", self._plain.connection.dbapi_connection)

    def _connect(self) -> engines.Connection:
        return _Connection(*self._open())

    async def transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool, is_single: bool = False) -> T:
        # Beginning and ending cost no trip to anywhere.
        del is_single
        with _telling_troubles():
            if is_writing and self._group is not None:
                return await self._group.run(lambda: _finish_at_once(work(self._connect())))
            return self._transaction(work, is_writing=is_writing)

    def _transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool) -> T:
        raw = self._begin_writing() if is_writing else self._begin_reading()
        changes = raw.total_changes
        try:
            result = _finish_at_once(work(self._connect()))
            if not is_writing and raw.total_changes != changes:
                raise RuntimeError("a read-only unit of work has written, and is undone")
            raw.execute("COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        return result

    def _begin_writing(self) -> sqlite3.Connection:
        raw = self._open()[1]
        # A reader that turns writer meets SQLITE_BUSY at once, whatever the time-out; so a writer says so at its start.
        raw.execute("BEGIN IMMEDIATE")
        return raw

    def _begin_reading(self) -> sqlite3.Connection:
        raw = self._open()[1]
        # No PRAGMA query_only: to change it has SQLite prepare every statement anew, which took five times as long as running them.
        raw.execute("BEGIN")
        return raw

    async def run_sync(self, function: Callable[[sa.Connection], T], *, is_writing: bool = True) -> T:
        async def work(_connection: engines.Connection) -> T:
            return function(self._open()[0])

        # By itself: what changes the schema shares its transaction with nobody.
        with _telling_troubles():
            return self._transaction(work, is_writing=is_writing)

    async def close(self) -> None:
        if self._plain is not None:
            self._plain.close()
            self._plain = None
        self._engine.dispose()


@contextlib.contextmanager
def _telling_troubles() -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sa.exc.OperationalError) as error:
        cause = error.orig if isinstance(error, sa.exc.OperationalError) else error
        trouble = _trouble_of(cause)
        if cause is None or trouble is None:
            raise
        raise engines.Troubled(trouble, cause) from error


def _trouble_of(error: BaseException | None) -> engines.Trouble | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & 0xFF in _BUSY:
        return engines.Trouble.CONFLICT
    # SQLITE_ERROR is a mistake in a statement; the rest (disk full, I/O error, cannot open) is the world's.
    return None if code == sqlite3.SQLITE_ERROR else engines.Trouble.UNAVAILABLE


def _finish_at_once(work: Awaitable[T]) -> T:
    """Run a coroutine that waits for nothing. One that does has broken the rule of units of work, and is stopped."""
    if not isinstance(work, Coroutine):
        raise TypeError(f"a unit of work is an async function, not one that returns {work!r}")
    try:
        awaited = work.send(None)
    except StopIteration as stop:
        returned: T = stop.value
        return returned
    work.close()
    raise RuntimeError(f"a unit of work awaited {awaited!r}; inside it only the database may be awaited")
