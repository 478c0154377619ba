# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL through asyncpg: a pool of connections, time limits, and what its errors mean.

Transactions that write run at READ COMMITTED and lock the rows that they decide by; those that read see one snapshot.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # ships no annotations
import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext import asyncio as sa_asyncio

from wherry import errors
from wherry.config import database as config_database
from wherry.db import engine as engines
from wherry.db import types

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


def _require_address(address: str) -> None:
    """Make sure that the driver can be given this address; what it cannot use it would only say at the first connection.

    :raises ConfigInvalid: says what is wrong with it, and shows nothing of it that may be secret.
    """
    problem = ""
    try:
        url = sa.make_url(address)
    except ValueError:
        # What stands where the port would.
        problem = _NO_PORT
    else:
        unknown = sorted(url.query.keys() - _known_parameters())
        if url.port is not None and not 0 < url.port <= _LAST_PORT:
            problem = _NO_PORT
        elif "@" in (url.host or ""):
            problem = "it has more than one @"
        elif unknown:
            problem = f"the driver knows no parameter {', '.join(unknown)} (for TLS it is ssl)"
        elif not url.database:
            problem = "it names no database"
    if problem:
        raise errors.ConfigInvalid(
            where="[database] connection",
            problem=problem,
            instead="Write postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME; in USER and PASSWORD write %40 for @.",
        )


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
        self._checkout_seconds = config.pool_timeout_seconds + config.connect_timeout_seconds
        self._engine = _connect(
            config,
            config.statement_timeout_seconds,
            # What is done outside of the limit below: undoing a transaction that failed.
            self._limit_seconds,
            poolclass=pool.AsyncAdaptedQueuePool,
            pool_size=config.pool_size,
            max_overflow=config.max_overflow,
            pool_timeout=config.pool_timeout_seconds,
        )
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool, is_single: bool = False) -> T:
        engine = self._single if is_single else self._engine if is_writing else self._reading
        return await self._transaction(engine, work, is_writing=is_writing, seconds=self._limit_seconds, is_single=is_single)

    async def run_sync(self, function: Callable[[sa.Connection], T], *, is_writing: bool = True) -> T:
        async def work(connection: sa_asyncio.AsyncConnection) -> T:
            return await connection.run_sync(function)

        if not is_writing:
            return await self._transaction(self._reading, work, is_writing=False, seconds=self._limit_seconds)
        # Filling a new column of a large table takes its time. Waiting for a lock may not: all others queue behind it.
        engine = _connect(self._config, 0.0, None, poolclass=pool.NullPool)
        try:
            return await self._transaction(engine, work, is_writing=True, seconds=None)
        finally:
            await engine.dispose()

    async def _transaction(
        self,
        engine: sa_asyncio.AsyncEngine,
        work: Callable[[sa_asyncio.AsyncConnection], Awaitable[T]],
        *,
        is_writing: bool,
        seconds: float | None,
        is_single: bool = False,
    ) -> T:
        is_commit_sent = False
        try:
            # First for a connection, which may have to be waited for; then for what is done with it.
            async with asyncio.timeout(seconds and seconds + self._checkout_seconds) as limit, engine.connect() as connection:
                limit.reschedule(seconds and asyncio.get_running_loop().time() + seconds)
                # A single statement is committed with its own answer.
                is_commit_sent = is_single
                result = await work(connection)
                is_commit_sent = True
                await connection.commit()
                return result
        except Exception as error:
            trouble = _trouble_of(error, is_writing=is_writing, is_commit_sent=is_commit_sent)
            if trouble is None:
                raise
            raise engines.Troubled(trouble, _cause_of(error)) from error

    async def close(self) -> None:
        await self._engine.dispose()


def _connect(
    config: config_database.DatabaseSection, statement_seconds: float, command_seconds: float | None, **pooling: Any
) -> sa_asyncio.AsyncEngine:
    return sa_asyncio.create_async_engine(
        config.connection,
        isolation_level="READ COMMITTED",
        connect_args={
            "timeout": config.connect_timeout_seconds,
            "command_timeout": command_seconds,
            "server_settings": {
                "application_name": "wherry",
                "timezone": "UTC",
                "statement_timeout": _milliseconds(statement_seconds),
                "lock_timeout": _milliseconds(config.lock_timeout_seconds),
                "idle_in_transaction_session_timeout": _milliseconds(config.idle_in_transaction_timeout_seconds),
            },
        },
        **pooling,
    )


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _cause_of(error: Exception) -> BaseException:
    return getattr(error, "orig", None) or error


def _state_of(cause: BaseException | None) -> str:
    """Give the SQLSTATE; SQLAlchemy leaves it behind where it words an error anew."""
    return str(getattr(cause, "sqlstate", None) or getattr(getattr(cause, "__cause__", None), "sqlstate", None) or "")


def _trouble_of(error: Exception, *, is_writing: bool, is_commit_sent: bool) -> engines.Trouble | None:
    cause = _cause_of(error)
    state = _state_of(cause)
    if state in _CONFLICTS:
        return engines.Trouble.CONFLICT
    if state == _LOCK_NOT_AVAILABLE:
        return engines.Trouble.LOCKED
    if state == _READ_ONLY:
        # A standby answers where the primary was: another connection may find the new primary.
        return engines.Trouble.UNAVAILABLE if is_writing else None
    refusal = getattr(cause, "__cause__", None)
    if isinstance(refusal, asyncpg.InternalClientError) and str(refusal).startswith(_NOT_BEGUN):
        return engines.Trouble.LOST
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        # asyncpg's own refusal to use a closed connection comes before anything is sent.
        is_unknown = is_commit_sent and is_writing and not isinstance(refusal, asyncpg.InterfaceError)
        return engines.Trouble.UNAVAILABLE if is_unknown else engines.Trouble.LOST
    # The pool's time-out, a refused connection, an answer that never came.
    if state.startswith(_UNAVAILABLE) or isinstance(cause, sa.exc.TimeoutError | OSError | TimeoutError):
        return engines.Trouble.UNAVAILABLE
    return None
