# SPDX-License-Identifier: Apache-2.0
"""Rows as an earlier release wrote them: put into its schema, looked for after the upgrade, and put in once more beside it.

Knows the columns of every revision from the database itself; what stands in them is what any release would write.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import sqlalchemy as sa

from wherry.db.migrations import runner

REVISIONS = tuple(sorted(path.stem.split("_", 1)[0] for path in (pathlib.Path(runner.__file__).parent / "versions").glob("[0-9]*.py")))
_WHEN = "2030-01-02 03:04:05.000006"
#: Table and column -> what to write; {n} is the number of the row.
_VALUES: dict[str, str] = {
    "*.vm_state": "active",
    "*.task_state": "migrating",
    "*.power_state": "1",
    "*.metadata": '{"color": "red"}',
    "*.disks": "[]",
    "*.system_metadata": "{}",
    "*.extra_specs": "{}",
    "hosts.description": '{"hypervisor_uuid": "hv-{n}", "hypervisor_hostname": "node-{n}", "hypervisor_type": "QEMU", '
    '"hypervisor_version": 7002000, "memory_mib": 4096, "vcpus": 8}',
    "operations.kind": "live_migration",
    "operations.step": "select_destination",
    "operations.request": '{"kind": "live_migration"}',
    "operations.plan": '{"source": "host-1"}',
    "migrations.migration_type": "live-migration",
    "migrations.status": "accepted",
    "intents.kind": "abort",
    "reports.kind": "transfer_started",
    "*.body": "{}",
    "disputes.recorded_state": "running",
    "server_groups.policy": "anti-affinity",
    "instance_actions.action": "live-migration",
    "instance_events.name": "compute_pre_live_migration",
    "instance_events.result": "Success",
}
#: Columns without a value in these rows.
_EMPTY = frozenset(
    {"finished_at", "deleted_at", "acknowledged_at", "reason", "progress", "deadline", "flavor", "result", "traceback", "birth"}
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of an earlier release."""

    table: str
    values: dict[str, Any]


def upgrade_to(connection: sa.Connection, revision: str) -> None:
    """Bring an empty database to a revision, as the release that had it did."""
    for one in REVISIONS[: REVISIONS.index(revision) + 1]:
        runner.apply(connection, one)


def insert(connection: sa.Connection, tables: list[sa.Table], number: int) -> list[Row]:
    """Write a row into each table, with every column that it has in this schema; what refers to another row refers to this number's."""
    written: dict[str, dict[str, Any]] = {}
    for table in tables:
        values = {column.name: _value(column, number, written) for column in table.columns}
        connection.execute(sa.insert(table).values({name: value for name, value in values.items() if value is not None}))
        written[table.name] = values
    return [Row(table=name, values=values) for name, values in written.items()]


def tables_of(connection: sa.Connection) -> list[sa.Table]:
    """Read the tables of the schema as it is now, parents first; the locks and Alembic's own are left out."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in ("alembic_version", "locks")]


def missing(connection: sa.Connection, tables: list[sa.Table], rows: list[Row]) -> list[str]:
    """Say which rows cannot be read any more as they were written, by the columns that the earlier release knows."""
    lost = []
    known = {table.name: table for table in tables}
    for row in rows:
        table = known[row.table]
        keys = [column == row.values[column.name] for column in table.primary_key.columns]
        found = connection.execute(sa.select(*table.columns).where(*keys)).one_or_none()
        now = None if found is None else dict(found._mapping)
        if now != row.values:
            lost.append(f"{row.table}: {row.values} is now {now}")
    return lost


def _value(column: sa.Column[Any], number: int, written: dict[str, dict[str, Any]]) -> Any:
    for key in column.foreign_keys:
        return written[key.column.table.name][key.column.name]
    text = _VALUES.get(f"{column.table.name}.{column.name}", _VALUES.get(f"*.{column.name}"))
    # Text without a length holds JSON, which is empty where nothing is said of it.
    if column.nullable and (column.name in _EMPTY or (text is None and isinstance(column.type, sa.Text))):
        return None
    return _typed(column, text.replace("{n}", str(number)) if text is not None else None, number)


def _typed(column: sa.Column[Any], text: str | None, number: int) -> Any:
    kind = column.type.python_type
    if kind in (int, float):
        return kind(text if text is not None else number)
    if kind is bool:
        return False
    if kind is str:
        return text if text is not None else f"{column.name}-{number}"[:36]
    # Times: as each database reads them back.
    return kind.fromisoformat(_WHEN + ("+00:00" if getattr(column.type, "timezone", False) else ""))
