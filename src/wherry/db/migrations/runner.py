# SPDX-License-Identifier: Apache-2.0
"""Runs revisions on an open connection, and says which ones wait. There is no way back but a backup.

Knows no table but the one in which Alembic notes the revision.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import sqlalchemy as sa

from wherry import errors

_HERE = pathlib.Path(__file__).parent
_NOTED = sa.table("alembic_version", sa.column("version_num", sa.String))
#: Any number will do; two processes that upgrade at once must use the same.
_ADVISORY_LOCK = 7_303_014
#: What the revisions of all releases are called; Alembic's own, and so other programs', are twelve hexadecimal digits.
_OURS = re.compile(r"[0-9]{4}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SchemaState:
    """Where a schema stands."""

    #: None: an empty database.
    current: str | None
    head: str
    #: File names of the revisions that wait, in order.
    pending: tuple[str, ...]
    #: Whether the schema is of a newer release than this one.
    is_newer: bool = False

    @property
    def is_current(self) -> bool:
        """Whether nothing waits."""
        return self.current == self.head

    @property
    def told(self) -> str:
        """Where it stands, as a sentence."""
        if self.current is None:
            return "The database is empty."
        later = f", which a newer release made; this one knows {self.head}" if self.is_newer else ""
        return f"The schema is at {self.current}{later}."

    @property
    def is_usable(self) -> bool:
        """Whether this release can work on it: every revision that it needs before its start is there."""
        return self.is_newer or (self.current is not None and all(is_after_upgrade(name) for name in self.pending))


def is_after_upgrade(name: str) -> bool:
    """Whether the revision of that file name must wait until no older release runs."""
    return "_post_" in name


def state_of(connection: sa.Connection) -> SchemaState:
    """Say which revision the schema is at, and which ones wait. Each file's name begins with its revision, in the order of the chain.

    :raises ConfigInvalid: it is another program's.
    """
    names = sorted(path.stem for path in (_HERE / "versions").glob("[0-9]*.py"))
    known = [_revision(name) for name in names]
    has_noted = sa.inspect(connection).has_table(_NOTED.name)
    current: str | None = connection.scalar(sa.select(_NOTED.c.version_num)) if has_noted else None
    if current is not None and not _OURS.fullmatch(current):
        raise errors.ConfigInvalid(
            where="[database] connection",
            problem=f"the schema is another program's: it is at revision {current}, which no release of Wherry has",
            instead="Name a database of Wherry's own.",
        )
    if current is not None and current not in known:
        return SchemaState(current=current, head=known[-1], pending=(), is_newer=True)
    waiting = names[known.index(current) + 1 :] if current is not None else names
    return SchemaState(current=current, head=known[-1], pending=tuple(waiting))


def upgrade(connection: sa.Connection, *, only_before_start: bool = False) -> SchemaState:
    """Apply what waits, all of it or what may run beside the release before."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    state = state_of(connection)
    for name in state.pending:
        if only_before_start and is_after_upgrade(name):
            break
        apply(connection, _revision(name))
    return state_of(connection) if state.pending else state


def _revision(name: str) -> str:
    return name.split("_", 1)[0]


def apply(connection: sa.Connection, revision: str) -> None:
    """Apply one revision, the next that waits."""
    # Loaded late: with what it brings along it costs every start more than reading the revision does.
    import alembic.command  # noqa: PLC0415 - needed by the first start of a release only
    import alembic.config  # noqa: PLC0415 - needed by the first start of a release only

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, revision)
