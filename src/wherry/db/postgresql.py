# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL through asyncpg: a pool of connections, time limits, and what its errors mean.

SQLAlchemy makes and pools the connections, and runs what is put together for one execution; what is kept (`kept.py`) is given to asyncpg.
So transactions are begun and ended here, in words, and SQLAlchemy is told that there are none. A single statement has none either.

Transactions that write run at READ COMMITTED and lock the rows that they decide by; those that read see one snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # ships no annotations
import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext import asyncio as sa_asyncio

from wherry import errors
from wherry.config import database as config_database
from wherry.db import engine as engines
from wherry.db import kept, types

T = TypeVar("T")

#: serialization_failure, deadlock_detected, and a prepared statement that a schema change made useless (it is prepared anew).
_CONFLICTS = frozenset({"40001", "40P01", "0A000"})
_LOCK_NOT_AVAILABLE = "55P03"
#: read_only_sql_transaction
_READ_ONLY = "25006"
#: Operator intervention and statement_timeout; insufficient resources; system error; connection; refused log-in; no such database;
#: idle_in_transaction_session_timeout.
_UNAVAILABLE = ("57", "53", "58", "08", "28", "3D", "25P03")

#: Seen of asyncpg 0.32 when the server's last word came between two statements, or between the last one and COMMIT: it takes the
#: connection for busy and sends nothing. By the time that SQLAlchemy asks, the connection may be closed or not yet.
_NOT_BEGUN = "cannot switch to state"

_LAST_PORT = 65535
_NO_PORT = f"its port is no number from 1 to {_LAST_PORT}"


@functools.cache
def _insert_ignoring(table: sa.Table) -> sa.Insert:
    return postgresql.insert(table).on_conflict_do_nothing()


class _Dialect:
    name = "postgresql"
    writes_at_once = True

    def lease_time(self, name: str) -> sa.ColumnElement[datetime.datetime]:
        # now() stands still at the start of the transaction, which may have waited for a lock since.
        return sa.type_coerce(sa.func.clock_timestamp() + sa.bindparam(name, type_=sa.Interval()), types.UtcDateTime())

    def lease_moment(self, now: datetime.datetime, plus: datetime.timedelta = engines.NO_TIME) -> datetime.datetime | datetime.timedelta:
        return plus

    def insert_ignoring(self, table: sa.Table) -> sa.Insert:
        return _insert_ignoring(table)

    def upsert(self, table: sa.Table, key: Sequence[str], values: Mapping[str, Any], replaced: Sequence[str]) -> sa.Insert:
        statement = postgresql.insert(table).values(**values)
        return statement.on_conflict_do_update(index_elements=list(key), set_={name: statement.excluded[name] for name in replaced})


_DIALECT = _Dialect()
_BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class _Connection:
    """A connection whose transactions are begun and ended in words: SQLAlchemy takes each of its statements for one by itself."""

    def __init__(self, connection: sa_asyncio.AsyncConnection, raw: asyncpg.Connection, plans: kept.Plans) -> None:
        self._connection = connection
        self._raw = raw
        self._plans = plans

    async def execute(self, statement: sa.Executable, parameters: engines.Parameters | None = None) -> engines.Answer:
        plan = self._plans.of(statement, parameters)
        if plan is None:
            return await self._connection.execute(statement, parameters)
        try:
            if not isinstance(parameters, Mapping):
                await self._raw.executemany(plan.text, [plan.arguments(each) for each in parameters or ()])
                return kept.Answer(found=[], rowcount=-1)
            if plan.has_rows:
                found = plan.rows(await self._raw.fetch(plan.text, *plan.arguments(parameters)))
                return kept.Answer(found=found, rowcount=len(found))
            told = await self._raw.execute(plan.text, *plan.arguments(parameters))
        except asyncpg.IntegrityConstraintViolationError as error:
            # As SQLAlchemy tells of it.
            raise sa.exc.IntegrityError(plan.text, None, error) from error
        # "UPDATE 1", "INSERT 0 1"
        return kept.Answer(found=[], rowcount=int(told.rpartition(" ")[2]))


def _require_address(address: str) -> None:
    """Make sure that the driver can be given this address; what it cannot use it would only say at the first connection.

    :raises ConfigInvalid: says what is wrong with it, and shows nothing of it that may be secret.
    """
    problem = _problem_of(address)
    if problem:
        raise errors.ConfigInvalid(
            where="[database] connection",
            problem=problem,
            instead="Write postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME; in USER and PASSWORD write %40 for @.",
        )


def _problem_of(address: str) -> str:
    try:
        url = sa.make_url(address)
    except ValueError:
        # What stands where the port would.
        return _NO_PORT
    if url.port is not None and not 0 < url.port <= _LAST_PORT:
        return _NO_PORT
    if "@" in (url.host or ""):
        return "it has more than one @"
    unknown = sorted(url.query.keys() - _known_parameters())
    if unknown:
        return f"the driver knows no parameter {', '.join(unknown)} (for TLS it is ssl)"
    return "" if url.database else "it names no database"


def _known_parameters() -> frozenset[str]:
    of_driver = inspect.signature(asyncpg.connect).parameters
    return frozenset({*of_driver, "prepared_statement_cache_size", "prepared_statement_name_func"})


class PostgreSql:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, config: config_database.DatabaseSection) -> None:
        _require_address(config.connection)
        self.dialect: engines.Dialect = _DIALECT
        self._config = config
        self._limit_seconds = config.transaction_timeout_seconds or None
        self._checkout_seconds = config.overflow_wait_seconds + config.pool_timeout_seconds + config.connect_timeout_seconds
        self._engine = _connect(
            config,
            config.statement_timeout_seconds,
            # What is done outside of the limit below: undoing a transaction that failed.
            self._limit_seconds,
            isolation_level="AUTOCOMMIT",
            poolclass=pool.AsyncAdaptedQueuePool,
            pool_size=config.pool_size,
            max_overflow=config.max_overflow,
            pool_timeout=config.pool_timeout_seconds,
            # Few connections that know the statements, rather than many.
            pool_use_lifo=True,
        )
        self._plans = kept.Plans(self._engine.dialect)
        #: One for each connection that is kept open.
        self._free = asyncio.Semaphore(config.pool_size)

    async def transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool, is_single: bool = False) -> T:
        sent = _Sent()
        seconds = self._limit_seconds
        try:
            # First for a connection, which may have to be waited for; then for what is done with it.
            async with asyncio.timeout(seconds and seconds + self._checkout_seconds) as limit, self._checked_out(sent) as (connection, raw):
                limit.reschedule(seconds and asyncio.get_running_loop().time() + seconds)
                begin = None if is_single else _BEGIN_WRITING if is_writing else _BEGIN_READING
                # A single statement is committed with its own answer.
                sent.is_commit = is_single
                return await _run(_Connection(connection, raw, self._plans), raw, work, begin, sent)
        except Exception as error:
            trouble = _trouble_of(error, is_writing=is_writing, sent=sent)
            if trouble is None:
                raise
            raise engines.Troubled(trouble, _cause_of(error)) from error

    @contextlib.asynccontextmanager
    async def _checked_out(self, sent: _Sent) -> AsyncIterator[tuple[sa_asyncio.AsyncConnection, asyncpg.Connection]]:
        """Give a connection; one that cannot be known to be at rest afterwards is closed, at once and without a word."""
        is_kept = await self._wait_for_kept()
        try:
            async with self._engine.connect() as connection:
                raw = await _raw_of(connection)
                while raw.is_closed():
                    # The server went away since it was used.
                    await connection.invalidate()
                    raw = await _raw_of(connection)
                try:
                    yield connection, raw
                except BaseException as error:
                    sent.is_cut = raw.is_closed()
                    if not _is_at_rest(raw, error):
                        raw.terminate()
                        await connection.invalidate()
                    raise
        finally:
            if is_kept:
                self._free.release()

    async def _wait_for_kept(self) -> bool:
        """Wait a little for a connection that is kept: making one takes longer than most units have theirs. False: none came free."""
        if not self._free.locked():
            return await self._free.acquire()
        try:
            async with asyncio.timeout(self._config.overflow_wait_seconds):
                return await self._free.acquire()
        except TimeoutError:
            return False

    async def run_sync(self, function: Callable[[sa.Connection], T], *, is_writing: bool = True) -> T:
        # Filling a new column of a large table takes its time. Waiting for a lock may not: all others queue behind it.
        limits = (0.0, None) if is_writing else (self._config.statement_timeout_seconds, self._limit_seconds)
        engine = _connect(self._config, *limits, isolation_level="READ COMMITTED", poolclass=pool.NullPool)
        sent = _Sent()
        try:
            async with asyncio.timeout(None if is_writing else self._limit_seconds), engine.connect() as connection:
                result = await connection.run_sync(function)
                sent.is_commit = True
                await connection.commit()
                return result
        except Exception as error:
            trouble = _trouble_of(error, is_writing=is_writing, sent=sent)
            if trouble is None:
                raise
            raise engines.Troubled(trouble, _cause_of(error)) from error
        finally:
            await engine.dispose()

    async def close(self) -> None:
        await self._engine.dispose()


@dataclasses.dataclass(slots=True)
class _Sent:
    """What has been said to the server, so that it is known what may have happened when no answer comes."""

    is_commit: bool = False
    #: Whether the connection was found closed then.
    is_cut: bool = False


async def _run(
    connection: engines.Connection,
    raw: asyncpg.Connection,
    work: Callable[[engines.Connection], Awaitable[T]],
    begin: str | None,
    sent: _Sent,
) -> T:
    """Run the work between BEGIN and COMMIT, where it has them.

    :raises RuntimeError: the work returned although a statement of it had failed, so that nothing was stored.
    """
    if begin is not None:
        await raw.execute(begin)
    try:
        result = await work(connection)
    except Exception as error:
        if (begin is not None or _was_refused(error)) and _is_at_rest(raw, error):
            await raw.execute("ROLLBACK")
        raise
    if begin is not None:
        sent.is_commit = True
        # The server's answer to the COMMIT of a transaction in which a statement failed is no error.
        if await raw.execute("COMMIT") != "COMMIT":
            raise RuntimeError("a unit of work went on after one of its statements had failed, and is undone")
    return result


def _was_refused(error: Exception) -> bool:
    """Whether the driver itself refused a value, as a number too large for its column.

    Seen of asyncpg 0.32: it has prepared the statement by then and leaves the server in a transaction of its own making, in which a BEGIN
    that asks for another isolation level fails.
    """
    cause = _cause_of(error)
    return isinstance(cause, asyncpg.DataError) or isinstance(cause.__cause__, asyncpg.DataError)


async def _raw_of(connection: sa_asyncio.AsyncConnection) -> asyncpg.Connection:
    return (await connection.get_raw_connection()).driver_connection


def _is_at_rest(raw: asyncpg.Connection, error: BaseException) -> bool:
    """Whether the server waits for the next statement: not where an answer was not waited for, or is of unknown meaning."""
    cause = _cause_of(error) if isinstance(error, Exception) else error
    broken = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
    is_broken = not isinstance(cause, Exception) or isinstance(cause, broken) or isinstance(cause.__cause__, broken)
    return not is_broken and not raw.is_closed()


def _connect(
    config: config_database.DatabaseSection, statement_seconds: float, command_seconds: float | None, **options: Any
) -> sa_asyncio.AsyncEngine:
    return sa_asyncio.create_async_engine(
        config.connection,
        connect_args={
            "timeout": config.connect_timeout_seconds,
            "command_timeout": command_seconds,
            # More than all that there are.
            "statement_cache_size": 1000,
            "server_settings": {
                "application_name": "wherry",
                "timezone": "UTC",
                "statement_timeout": _milliseconds(statement_seconds),
                "lock_timeout": _milliseconds(config.lock_timeout_seconds),
                "idle_in_transaction_session_timeout": _milliseconds(config.idle_in_transaction_timeout_seconds),
            },
        },
        **options,
    )


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _cause_of(error: Exception) -> BaseException:
    return getattr(error, "orig", None) or error


def _state_of(cause: BaseException | None) -> str:
    """Give the SQLSTATE; SQLAlchemy leaves it behind where it words an error anew."""
    return str(getattr(cause, "sqlstate", None) or getattr(getattr(cause, "__cause__", None), "sqlstate", None) or "")


def _trouble_of(error: Exception, *, is_writing: bool, sent: _Sent) -> engines.Trouble | None:
    cause = _cause_of(error)
    state = _state_of(cause)
    if state in _CONFLICTS:
        return engines.Trouble.CONFLICT
    if state == _LOCK_NOT_AVAILABLE:
        return engines.Trouble.LOCKED
    if state == _READ_ONLY:
        # A standby answers where the primary was: another connection may find the new primary.
        return engines.Trouble.UNAVAILABLE if is_writing else None
    # SQLAlchemy puts an error of its own before the driver's.
    refusal = cause if isinstance(cause, asyncpg.InterfaceError | asyncpg.InternalClientError) else getattr(cause, "__cause__", None)
    if isinstance(refusal, asyncpg.InternalClientError) and str(refusal).startswith(_NOT_BEGUN):
        return engines.Trouble.LOST
    is_cut = sent.is_cut and not isinstance(cause, TimeoutError)
    if is_cut or (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated):
        # asyncpg's own refusal to use a closed connection comes before anything is sent.
        is_unknown = sent.is_commit and is_writing and not isinstance(refusal, asyncpg.InterfaceError)
        return engines.Trouble.UNAVAILABLE if is_unknown else engines.Trouble.LOST
    # The pool's time-out, a refused connection, an answer that never came.
    if state.startswith(_UNAVAILABLE) or isinstance(cause, sa.exc.TimeoutError | OSError | TimeoutError):
        return engines.Trouble.UNAVAILABLE
    return None
