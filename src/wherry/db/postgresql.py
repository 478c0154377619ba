# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL through asyncpg: a pool of connections, time limits, and what its errors mean.

Transactions that write run at READ COMMITTED and lock the rows that they decide by; those that read see one snapshot.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext import asyncio as sa_asyncio

from wherry.config import database as config_database
from wherry.db import engine as engines
from wherry.db import types

T = TypeVar("T")

#: serialization_failure, deadlock_detected, lock_not_available.
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
#: Operator intervention and statement_timeout; insufficient resources; system error; connection; refused log-in; no such database.
_UNAVAILABLE = ("57", "53", "58", "08", "28", "3D")


@functools.cache
def _insert_ignoring(table: sa.Table) -> sa.Insert:
    return postgresql.insert(table).on_conflict_do_nothing()


class _Dialect:
    name = "postgresql"

    def database_now(self, now: datetime.datetime, plus: datetime.timedelta = engines.NO_TIME) -> sa.ColumnElement[datetime.datetime]:
        # now() stands still at the start of the transaction, which may have waited for a lock since.
        return sa.type_coerce(sa.func.clock_timestamp() + sa.literal(plus, sa.Interval()), types.UtcDateTime())

    def insert_ignoring(self, table: sa.Table) -> sa.Insert:
        return _insert_ignoring(table)

    def upsert(self, table: sa.Table, key: Sequence[str], values: Mapping[str, Any], replaced: Sequence[str]) -> sa.Insert:
        statement = postgresql.insert(table).values(**values)
        return statement.on_conflict_do_update(index_elements=list(key), set_={name: statement.excluded[name] for name in replaced})


class PostgreSql:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, config: config_database.DatabaseSection) -> None:
        self.dialect: engines.Dialect = _Dialect()
        limit_ms = str(int(config.statement_timeout_seconds * 1000))
        self._engine = sa_asyncio.create_async_engine(
            config.connection,
            poolclass=pool.AsyncAdaptedQueuePool,
            pool_size=config.pool_size,
            max_overflow=config.max_overflow,
            pool_timeout=config.pool_timeout_seconds,
            isolation_level="READ COMMITTED",
            connect_args={
                "timeout": config.pool_timeout_seconds,
                # For a server that is gone without a word, which its own statement_timeout cannot end.
                "command_timeout": config.statement_timeout_seconds + config.pool_timeout_seconds
                if config.statement_timeout_seconds
                else None,
                "server_settings": {
                    "application_name": "wherry",
                    "timezone": "UTC",
                    "statement_timeout": limit_ms,
                    # A process that was stopped in mid-transaction must not hold the cluster's lock for ever.
                    "idle_in_transaction_session_timeout": limit_ms,
                },
            },
        )
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool) -> T:
        return await self._transaction(work, is_writing=is_writing)

    async def run_sync(self, function: Callable[[sa.Connection], T], *, is_writing: bool = True) -> T:
        return await self._transaction(lambda connection: connection.run_sync(function), is_writing=is_writing)

    async def _transaction(self, work: Callable[[sa_asyncio.AsyncConnection], Awaitable[T]], *, is_writing: bool) -> T:
        engine = self._engine if is_writing else self._reading
        is_commit_sent = False
        try:
            async with engine.connect() as connection:
                result = await work(connection)
                is_commit_sent = True
                await connection.commit()
                return result
        except Exception as error:
            trouble = _trouble_of(error, is_commit_sent=is_commit_sent and is_writing)
            if trouble is None:
                raise
            raise engines.Troubled(trouble, getattr(error, "orig", None) or error) from error

    async def close(self) -> None:
        await self._engine.dispose()


def _trouble_of(error: Exception, *, is_commit_sent: bool) -> engines.Trouble | None:
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    code = str(getattr(cause, "sqlstate", None) or "")
    if code in _CONFLICTS:
        return engines.Trouble.CONFLICT
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return engines.Trouble.UNAVAILABLE if is_commit_sent else engines.Trouble.LOST
    # The pool's time-out, a refused connection, a command that was never answered.
    if code.startswith(_UNAVAILABLE) or isinstance(cause, sa.exc.TimeoutError | OSError | TimeoutError):
        return engines.Trouble.UNAVAILABLE
    return None
