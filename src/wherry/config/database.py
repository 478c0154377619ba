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
            "sqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME",
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
    pool_timeout_seconds: float = opt.option(
        30.0,
        "Longest wait for a free connection before the request fails.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    statement_timeout_seconds: float = opt.option(
        30.0,
        "Longest time one statement may take, waiting for locks included. 0 means no limit.",
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
    sqlite_busy_timeout_seconds: float = opt.option(
        0.05,
        "How long a statement waits for another process that writes to the same SQLite file, the event loop "
        "standing still meanwhile; then the unit of work is run again. Not used with PostgreSQL.",
        constraint=opt.at_least(0, 5),
        unit="seconds",
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
