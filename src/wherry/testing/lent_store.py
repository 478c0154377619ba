# SPDX-License-Identifier: Apache-2.0
"""Stores in memory that one process uses again and again: brought up to date once, emptied for each use.

Made by the same revisions as any other; what is spared is running them, and compiling each statement, for every test. Not for files.
"""

from __future__ import annotations

import functools
import random
import uuid
from typing import Any

from wherry import clock as clocks
from wherry.config import database
from wherry.db import engine as engines
from wherry.db import store as stores

IN_MEMORY = "sqlite:///:memory:"
#: Engines that nobody uses now, by their configuration.
_idle: dict[database.DatabaseSection, list[engines.Engine]] = {}
#: SQL of the rows that a new schema holds.
_first_rows: list[str] = []


def uuid_of(chance: random.Random) -> str:
    """Make a uuid from seeded chance."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


class LentStore(stores.Store):
    """A store on an engine that is given back at the close."""

    def __init__(self, engine: engines.Engine, config: database.DatabaseSection, clock: clocks.Clock, chance: random.Random | None) -> None:
        if chance is None:
            super().__init__(engine, config, clock)
        else:
            super().__init__(engine, config, clock, new_uuid=functools.partial(uuid_of, chance), jitter=chance)
        self._give_back = _idle.setdefault(config, []).append

    async def close(self) -> None:
        """Let somebody else have the engine."""
        self._give_back(self._engine)


async def open_store(config: database.DatabaseSection, clock: clocks.Clock, chance: random.Random | None = None) -> stores.Store:
    """Open a store on a database in memory: empty, its schema up to date. Any other database is opened as it is, and brought up to date.

    :param chance: makes the ids of rows and the jitter of pauses; given, a run can be repeated exactly.
    """
    if config.connection != IN_MEMORY:
        store = await stores.Store.open(config, clock)
        await store.upgrade()
        return store
    idle = _idle.get(config)
    if idle:
        engine = idle.pop()
        await engine.run_sync(_empty)
        return LentStore(engine, config, clock, chance)
    engine = stores.engine_for(config)
    lent = LentStore(engine, config, clock, chance)
    await lent.upgrade()
    if not _first_rows:
        _first_rows.extend(await engine.run_sync(_rows))
    return lent


def _rows(connection: Any) -> list[str]:
    return [line for line in connection.connection.driver_connection.iterdump() if line.startswith("INSERT INTO")]


def _empty(connection: Any) -> None:
    # Until the end of this transaction: the tables are emptied in any order.
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").all():
        connection.exec_driver_sql(f'DELETE FROM "{name}"')
    for statement in _first_rows:
        connection.exec_driver_sql(statement)
