# SPDX-License-Identifier: Apache-2.0
"""Runs revisions on an open connection, and says which ones wait. There is no way back but a backup.

Knows no table.
"""

from __future__ import annotations

import dataclasses
import pathlib

import alembic.command
import alembic.config
import sqlalchemy as sa
from alembic.runtime import migration
from alembic.script import ScriptDirectory

_HERE = pathlib.Path(__file__).parent
#: Any number will do; two processes that upgrade at once must use the same.
_ADVISORY_LOCK = 7_303_014


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
    def is_usable(self) -> bool:
        """Whether this release can work on it: every revision that it needs before its start is there."""
        return self.is_newer or (self.current is not None and all(is_after_upgrade(name) for name in self.pending))


def is_after_upgrade(name: str) -> bool:
    """Whether the revision of that file name must wait until no older release runs."""
    return "_post_" in name


def state_of(connection: sa.Connection) -> SchemaState:
    """Say which revision the schema is at, and which ones wait."""
    scripts = ScriptDirectory.from_config(_config(connection))
    current = migration.MigrationContext.configure(connection).get_current_revision()
    head = scripts.get_current_head() or ""
    chain = list(reversed(list(scripts.walk_revisions())))
    known = [script.revision for script in chain]
    if current is not None and current not in known:
        return SchemaState(current=current, head=head, pending=(), is_newer=True)
    waiting = chain[known.index(current) + 1 :] if current is not None else chain
    return SchemaState(current=current, head=head, pending=tuple(pathlib.Path(script.path).stem for script in waiting))


def upgrade(connection: sa.Connection, *, only_before_start: bool = False) -> SchemaState:
    """Apply what waits, all of it or what may run beside the release before."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    state = state_of(connection)
    for name in state.pending:
        if only_before_start and is_after_upgrade(name):
            break
        alembic.command.upgrade(_config(connection), name.split("_", 1)[0])
    return state_of(connection) if state.pending else state


def _config(connection: sa.Connection) -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
