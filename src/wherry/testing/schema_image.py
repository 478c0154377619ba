# SPDX-License-Identifier: Apache-2.0
"""A store in memory whose schema is ready at once: the first one of a process is brought up to date, the others are given its picture.

Made by the same revisions as any other; only the running of them is spared. Not for a database that outlives the process.
"""

from __future__ import annotations

from typing import Any

from wherry import clock as clocks
from wherry.config import database
from wherry.db import store as stores

#: SQL that makes the schema, once it is known.
_image: list[str] = []


async def open_store(config: database.DatabaseSection, clock: clocks.Clock) -> stores.Store:
    """Open a store on a database in memory, its schema up to date."""
    engine = stores.engine_for(config)
    store = stores.Store(engine, config, clock)
    if _image:
        await engine.run_sync(_make)
    else:
        await store.upgrade()
        _image.extend(await engine.run_sync(_picture))
    return store


def _picture(connection: Any) -> list[str]:
    # Its first and last lines begin and end a transaction, which is the engine's business.
    return list(connection.connection.driver_connection.iterdump())[1:-1]


def _make(connection: Any) -> None:
    for statement in _image:
        connection.exec_driver_sql(statement)
