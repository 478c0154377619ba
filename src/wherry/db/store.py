# SPDX-License-Identifier: Apache-2.0
"""The store: runs units of work, each in one transaction, and brings the schema up to date.

A unit of work is an async function of one `UnitOfWork`; the store may run it again, so it must do nothing but read and write through it.
"""

from __future__ import annotations

import datetime
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import sqlalchemy as sa

from wherry import clock as clocks
from wherry import errors
from wherry.config import database as config_database
from wherry.db import engine as engines
from wherry.db import inline_sqlite, uow
from wherry.db import session as sessions
from wherry.db.migrations import runner

T = TypeVar("T")
Unit = Callable[[uow.UnitOfWork], Awaitable[T]]

#: Troubles of which nothing was stored, and which another attempt may not meet.
_PASSING = frozenset({engines.Trouble.CONFLICT, engines.Trouble.LOST})


def _random_uuid() -> str:
    return str(uuid.uuid4())


class _Once:
    """A connection for one statement."""

    def __init__(self, connection: engines.Connection) -> None:
        self._connection: engines.Connection | None = connection

    async def execute(self, statement: sa.Executable, parameters: engines.Parameters | None = None) -> engines.Answer:
        connection, self._connection = self._connection, None
        if connection is None:
            raise RuntimeError("a look is one statement, and so is what is put; for more than one there are Store.read and Store.run")
        return await connection.execute(statement, parameters)


class Store:
    """One database, as units of work see it."""

    def __init__(
        self,
        engine: engines.Engine,
        config: config_database.DatabaseSection,
        clock: clocks.Clock,
        *,
        new_uuid: Callable[[], str] = _random_uuid,
        jitter: random.Random | None = None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._clock = clock
        self._new_uuid = new_uuid
        self._jitter = jitter or random.Random()

    @classmethod
    async def open(
        cls,
        config: config_database.DatabaseSection,
        clock: clocks.Clock,
        *,
        new_uuid: Callable[[], str] = _random_uuid,
        jitter: random.Random | None = None,
    ) -> Store:
        """Make a store. Connects at the first unit of work; the schema is left as it is, see `upgrade` and `check`.

        :param new_uuid: makes the ids of new rows; given, a run can be repeated exactly.
        :param jitter: spreads the pauses between repetitions.
        """
        return cls(engine_for(config), config, clock, new_uuid=new_uuid, jitter=jitter)

    async def run(self, unit: Unit[T]) -> T:
        """Run a unit of work in one transaction that may write.

        It is run again, after a growing pause, when other transactions are in its way.
        :raises DatabaseUnavailable: nothing was stored, or (says the detail) the answer to the commit was lost.
        """
        return await self._run(unit, is_writing=True)

    async def read(self, unit: Unit[T]) -> T:
        """Run a unit of work that only reads, on one consistent state."""
        return await self._run(unit, is_writing=False)

    async def look(self, unit: Unit[T]) -> T:
        """As `read`, for a unit of one statement: what else a transaction costs, two trips to the database, is spared.

        :raises RuntimeError: the unit runs a second statement, which might see another state.
        """
        return await self._repeat(
            lambda: self._engine.transaction(lambda connection: unit(self._begin(_Once(connection))), is_writing=False, is_single=True)
        )

    async def put(self, unit: Unit[T]) -> T:
        """As `run`, for a unit that is one statement where the database can write several tables at once (`Dialect.writes_at_once`).

        There it is its own transaction, and two trips to the database are spared. A unit that finds, before it has written, that it takes
        more statements raises TakesMore, and is run in a transaction.
        :raises RuntimeError: the unit runs a second statement there.
        """
        if not self._engine.dialect.writes_at_once:
            return await self.run(unit)
        try:
            return await self._repeat(
                lambda: self._engine.transaction(
                    lambda connection: unit(self._begin(_Once(connection), is_single=True)), is_writing=True, is_single=True
                )
            )
        except sessions.TakesMore:
            return await self.run(unit)

    async def upgrade(self, *, only_before_start: bool = False) -> runner.SchemaState:
        """Bring the schema up to date. Does nothing when it is. May run while processes of this release and the one before do.

        Waits for no lock longer than [database] lock_timeout_seconds, since everybody else queues behind it, and tries again.
        :param only_before_start: stop before the first revision named post_, which must wait until no older release runs any more.
        :raises DatabaseUnavailable: as `run` does.
        """

        def upgrade(connection: sa.Connection) -> runner.SchemaState:
            return runner.upgrade(connection, only_before_start=only_before_start)

        return await self._repeat(lambda: self._engine.run_sync(upgrade), passing=_PASSING | {engines.Trouble.LOCKED})

    async def check(self) -> runner.SchemaState:
        """Say which revision the schema is at, and which ones wait.

        :raises DatabaseUnavailable: it does not answer.
        """
        return await self._repeat(lambda: self._engine.run_sync(runner.state_of, is_writing=False))

    async def clock_difference(self) -> datetime.timedelta:
        """Say how far the database's clock is ahead of this store's, to half the time that the answer takes. One without its own is not.

        :raises DatabaseUnavailable: it does not answer.
        """

        async def unit(uow: uow.UnitOfWork) -> tuple[datetime.datetime, datetime.datetime]:
            return await uow.database_time(), self._clock.now()

        # Asked before, so that making a connection is no part of it.
        await self.look(unit)
        before = self._clock.now()
        told, after = await self.look(unit)
        return told - (before + (after - before) / 2)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.close()

    async def _run(self, unit: Unit[T], *, is_writing: bool) -> T:
        return await self._repeat(lambda: self._engine.transaction(lambda connection: unit(self._begin(connection)), is_writing=is_writing))

    async def _repeat(self, attempt_once: Callable[[], Awaitable[T]], *, passing: frozenset[engines.Trouble] = _PASSING) -> T:
        pause, longest = self._config.transaction_retry_initial_seconds, self._config.transaction_retry_max_seconds
        attempt = 1
        while True:
            try:
                return await attempt_once()
            except engines.Troubled as error:
                if error.trouble not in passing:
                    raise errors.DatabaseUnavailable(detail=str(error)) from error
                if attempt >= self._config.transaction_max_attempts:
                    raise errors.DatabaseUnavailable(detail=f"gave up after {attempt} attempts: {error}") from error
            await self._clock.sleep(pause * self._jitter.uniform(0.5, 1.5))
            pause = min(pause * 2, longest)
            attempt += 1

    def _begin(self, connection: engines.Connection, *, is_single: bool = False) -> uow.UnitOfWork:
        now = self._clock.now()
        return uow.UnitOfWork(connection, self._engine.dialect, now=now, new_uuid=self._new_uuid, is_single=is_single)


def engine_for(config: config_database.DatabaseSection) -> engines.Engine:
    """Choose the database by the address in the configuration."""
    scheme = config.connection.split(":", 1)[0]
    if scheme.startswith("sqlite"):
        return inline_sqlite.InlineSqlite(config)
    if scheme.startswith("postgresql"):
        # Loaded late: a machine without PostgreSQL need not have its driver.
        from wherry.db import postgresql  # noqa: PLC0415 - optional dependency

        return postgresql.PostgreSql(config)
    raise errors.ConfigInvalid(
        where="[database] connection",
        problem=f"{scheme!r} is no database that Wherry knows",
        instead="Write sqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME.",
    )
