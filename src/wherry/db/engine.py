# SPDX-License-Identifier: Apache-2.0
"""What a store needs of a database, and the choice of one by its address.

Knows no table. All that differs between SQLite and PostgreSQL is behind `Engine` and `Dialect`.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

NO_TIME = datetime.timedelta(0)


class Row(Protocol):
    """One row of an answer: its values by their columns' names, and in their order."""

    @property
    def _fields(self) -> tuple[str, ...]: ...

    @property
    def _mapping(self) -> Mapping[Any, Any]: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, place: Any, /) -> Any: ...

    def __getattr__(self, name: str, /) -> Any: ...


class Answer(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int:
        """Rows that were met."""

    def all(self) -> Sequence[Row]:
        """Give all rows."""

    def one(self) -> Row:
        """Give the only row; it is an error that there is none, or more."""

    def one_or_none(self) -> Row | None:
        """Give the only row, or None; it is an error that there are more."""


class Connection(Protocol):
    """An open transaction."""

    async def execute(self, statement: sa.Executable, parameters: Parameters | None = None) -> Answer:
        """Run one statement; with a list of parameters, once for each.

        With parameters, be they none ({}), the statement is taken for one that its maker keeps: what is found out about it the first time
        is kept as long as the statement is, see `kept.py`. One that is put together for this execution is given without.
        """


class Dialect(Protocol):
    """How one database says what SQL has no common word for."""

    name: str
    #: Whether one statement may write several tables; where each statement is a trip, that is what makes it fast.
    writes_at_once: bool

    def __hash__(self) -> int:
        """By what it is: statements are kept by their dialect."""

    def lease_time(self, name: str) -> sa.ColumnElement[datetime.datetime]:
        """Give the time that leases are judged by: the database's own where several machines share it, otherwise the process's.

        :param name: of the parameter that it takes, whose value `lease_moment` gives.
        """

    def lease_moment(self, now: datetime.datetime, plus: datetime.timedelta = NO_TIME) -> datetime.datetime | datetime.timedelta:
        """Give the value of a parameter of `lease_time`: what makes it the time now, or one before or after it."""

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
