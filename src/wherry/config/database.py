# SPDX-License-Identifier: Apache-2.0
"""[database]: where the records are kept and how surely they reach the disk.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseSection:
    """Options of [database]."""

    SECTION: ClassVar[str] = "database"
    ABOUT: ClassVar[str] = "The store of all records; the only truth the control plane has."

    connection: str = opt.option(
        "",
        "Where the database is: sqlite:///FILE for one machine, "
        "postgresql+asyncpg://USER:PASSWORD@HOST/NAME for several. Write $$ for a dollar sign.",
        constraint=opt.matching(
            r"(sqlite:///.*|postgresql\+asyncpg://.+)?",
            "sqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME, and no MariaDB, MySQL or other database",
        ),
        secret=True,
        derived="sqlite:///STATE_PATH/wherry.sqlite",
    )
    sqlite_synchronous: str = opt.option(
        "full",
        "How SQLite (in WAL mode) waits for the disk. full: a commit is on the disk before it is "
        "answered, so an accepted request survives a power failure. normal: faster, the file "
        "never breaks and nothing is lost when a process dies, but a power failure may take back "
        "the last commits, and with them requests already answered with 202. Not used with "
        "PostgreSQL, where synchronous_commit of the server says the same.",
        constraint=opt.one_of("full", "normal"),
    )
    sqlite_group_commit_max: int = opt.option(
        32,
        "Units of work that come at the same time and are committed to a SQLite file together, which waits for the disk once for all "
        "of them; none is answered before. More of them hold everything else up for longer. 1 commits each by itself.",
        constraint=opt.at_least(1),
        unit="units of work",
    )
    pool_size: int = opt.option(
        10,
        "Connections that each process keeps open. Not used with SQLite.",
        constraint=opt.at_least(1),
        unit="connections",
    )
    max_overflow: int = opt.option(
        20,
        "Connections that a process may open beyond pool_size under load.",
        constraint=opt.at_least(0),
        unit="connections",
    )
    overflow_wait_seconds: float = opt.option(
        0.5,
        "How long a unit of work waits for one of the connections that are kept open before one beyond pool_size is opened: for when those "
        "are stuck, not for when they are busy. What is opened is closed after its use, and costs more than most units of work. "
        "0 opens it at once.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    pool_timeout_seconds: float = opt.option(
        30.0,
        "Longest wait for a free connection before the request fails.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    connect_timeout_seconds: float = opt.option(
        10.0,
        "Longest wait for a new connection to PostgreSQL to be made.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    statement_timeout_seconds: float = opt.option(
        20.0,
        "Longest time PostgreSQL may work on one statement, waiting for locks included (its statement_timeout). 0 means no limit.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    lock_timeout_seconds: float = opt.option(
        10.0,
        "Longest wait for a lock that another transaction holds (PostgreSQL's lock_timeout). 0 means no limit but the statement's.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    idle_in_transaction_timeout_seconds: float = opt.option(
        10.0,
        "How long a transaction may be open without a word from its process before PostgreSQL ends it "
        "(its idle_in_transaction_session_timeout): a process that is stopped or cut off must not hold locks. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    transaction_timeout_seconds: float = opt.option(
        30.0,
        "Longest time one transaction may take as its process sees it, answers that do not come included; then its connection is "
        "dropped. For a server that is silent, whose own limits end nothing. Not used with SQLite. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    transaction_max_attempts: int = opt.option(
        10,
        "How many times a unit of work is run when others change the same rows at the same time.",
        constraint=opt.at_least(1),
        unit="attempts",
    )
    transaction_retry_initial_seconds: float = opt.option(
        0.005,
        "Pause before a unit of work is run again the first time; each further one is twice as long.",
        constraint=opt.at_least(0.0001),
        unit="seconds",
    )
    transaction_retry_max_seconds: float = opt.option(
        1.0,
        "Longest pause before a unit of work is run again.",
        constraint=opt.at_least(0.0001),
        unit="seconds",
    )
    clock_tolerance_seconds: float = opt.option(
        2.0,
        "How far the clock of a machine may be from PostgreSQL's before an api or conductor there goes by PostgreSQL's time instead, and "
        "warns: they judge by time stamps which hosts are up. Not used with SQLite.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    clock_check_interval_seconds: float = opt.option(
        60.0,
        "How often an api or conductor compares its machine's clock with PostgreSQL's.",
        constraint=opt.at_least(1),
        unit="seconds",
    )
    sqlite_busy_timeout_seconds: float = opt.option(
        0.05,
        "How long a statement waits for another process that writes to the same SQLite file, the event loop "
        "standing still meanwhile; then the unit of work is run again. Not used with PostgreSQL.",
        constraint=opt.at_least(0, 5),
        unit="seconds",
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        if 0 < self.transaction_timeout_seconds < self.statement_timeout_seconds:
            yield (
                "[database] transaction_timeout_seconds must not be shorter than statement_timeout_seconds "
                f"({self.statement_timeout_seconds:g}), which would never end a statement then"
            )
        if self.transaction_retry_initial_seconds > self.transaction_retry_max_seconds:
            yield (
                "[database] transaction_retry_initial_seconds must not exceed "
                f"transaction_retry_max_seconds ({self.transaction_retry_max_seconds:g})"
            )
