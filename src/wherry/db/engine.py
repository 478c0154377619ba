# SPDX-License-Identifier: Apache-2.0
"""What a store needs of a database, and the choice of one by its address.

Knows no table. All that differs between SQLite and PostgreSQL is behind `Engine` and `Dialect`.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

NO_TIME = datetime.timedelta(0)


class Connection(Protocol):
    """An open transaction."""

    async def execute(self, statement: sa.Executable, parameters: Parameters | None = None) -> sa.CursorResult[Any]:
        """Run one statement; with a list of parameters, once for each."""


class Dialect(Protocol):
    """How one database says what SQL has no common word for."""

    name: str
    #: Whether one statement may write several tables; where each statement is a trip, that is what makes it fast.
    writes_at_once: bool

    def __hash__(self) -> int:
        """By what it is: statements are kept by their dialect."""

    def database_now(self, now: datetime.datetime, plus: datetime.timedelta = NO_TIME) -> sa.ColumnElement[datetime.datetime]:
        """Give the time that leases are judged by: the database's own where several machines share it, otherwise `now`."""

    def insert_ignoring(self, table: sa.Table) -> sa.Insert:
        """Give an insert that does nothing where a unique index says that the row is there."""

    def upsert(self, table: sa.Table, key: Sequence[str], values: Mapping[str, Any], replaced: Sequence[str]) -> sa.Insert:
        """Give an insert that replaces the named columns where the key is there."""


class Trouble(enum.Enum):
    """What an error of the database means for the unit of work that met it."""

    #: Another transaction was in the way; nothing was stored, running the unit again may succeed.
    CONFLICT = "conflict"
    #: A lock was not given up for longer than [database] lock_timeout_seconds; nothing was stored.
    LOCKED = "locked"
    #: The connection broke before the commit was sent: nothing was stored, another connection may work.
    LOST = "lost"
    #: The database does not answer, or its answer to a commit was lost.
    UNAVAILABLE = "unavailable"


class Troubled(Exception):
    """The transaction ended for a reason that lies with the database; the original error is the cause."""

    def __init__(self, trouble: Trouble, error: BaseException) -> None:
        super().__init__(str(error) or type(error).__name__)
        self.trouble = trouble


class Engine(Protocol):
    """Connections to one database."""

    dialect: Dialect

    async def transaction(self, work: Callable[[Connection], Awaitable[T]], *, is_writing: bool, is_single: bool = False) -> T:
        """Run the work in one transaction: committed when it returns, rolled back when it raises.

        :param is_single: it is one statement, which is its own transaction where the database makes it one.

        :raises Troubled: in place of an error of the database that is nobody's mistake.
        """

    async def run_sync(self, function: Callable[[sa.Connection], T], *, is_writing: bool = True) -> T:
        """Run a function of a plain connection in one transaction: for the schema.

        One that writes may take as long as it takes, but for its waits for locks.
        :raises Troubled: as `transaction` does.
        """

    async def close(self) -> None:
        """Close every connection."""
