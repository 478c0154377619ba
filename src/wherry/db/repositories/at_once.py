# SPDX-License-Identifier: Apache-2.0
"""One update and several inserts as one statement, for a database to which each statement is a trip.

Nothing is inserted where the update met no row. Only for databases that write in common table expressions (`Dialect.writes_at_once`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wherry.db import engine as engines
from wherry.db import session as sessions

#: Column -> value.
Values = Mapping[str, Any]


async def write(
    session: sessions.Session, update: sa.Update, where: Values, changes: Values, inserts: Sequence[tuple[sa.Table, Values]]
) -> engines.Row | None:
    """Update, then insert a row into each table; gives the last one whole. None: the update met no row, and nothing was done.

    :param where: values of the parameters in the update's own condition.
    """
    shape = tuple((table, tuple(values)) for table, values in inserts)
    parameters = {**where, **sessions.prefixed("set", changes)}
    for number, (_, values) in enumerate(inserts):
        parameters |= sessions.prefixed(f"in{number}", values)
    return await session.row(_statement(update, tuple(changes), shape), parameters)


@functools.cache
def _statement(update: sa.Update, changes: tuple[str, ...], inserts: tuple[tuple[sa.Table, tuple[str, ...]], ...]) -> sa.Select[Any]:
    table = update.entity_description["table"]
    updated = update.values(sessions.placeholders(table, "set", changes)).returning(table.c.id).cte("updated")
    written = []
    for number, (into, names) in enumerate(inserts):
        given = sessions.placeholders(into, f"in{number}", names)
        row = sa.select(*(value.label(name) for name, value in given.items())).select_from(updated)
        written.append(sa.insert(into).from_select(list(names), row).returning(*into.c).cte(f"written_{number}"))
    # Each runs, whether it is asked for or not.
    return sa.select(*written[-1].c).add_cte(*written[:-1])
