# SPDX-License-Identifier: Apache-2.0
"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UUID = sa.String(36)
_NAME = sa.String(255)
_WORD = sa.String(64)
_WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    _locks()
    _servers()
    _hosts()
    _operations()
    _migrations()
    _instance_actions()
    _instance_events()
    _intents()
    _reports()
    _chores()
    _conductors()
    op.execute("INSERT INTO locks (name) VALUES ('cluster')")


def _locks() -> None:
    op.create_table(
        "locks",
        sa.Column("name", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="locks_key"),
    )


def _servers() -> None:
    op.create_table(
        "servers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", _UUID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("host", _NAME),
        sa.Column("node", _NAME),
        sa.Column("vm_state", _WORD, nullable=False),
        sa.Column("task_state", _WORD),
        sa.Column("power_state", sa.Integer, nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("root_gib", sa.Integer, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("locked_by", _NAME),
        sa.Column("locked_reason", _NAME),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("disks", sa.Text, nullable=False),
        sa.Column("reason", _NAME),
        sa.Column("created_at", _WHEN, nullable=False),
        sa.Column("updated_at", _WHEN),
        sa.Column("launched_at", _WHEN),
        sa.Column("deleted_at", _WHEN),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("changed_at", _WHEN, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("servers_by_change", "servers", ["changed_at"])
    op.create_index("servers_by_host", "servers", ["host", "deleted_at"])
    op.create_index("servers_by_order", "servers", ["created_at", "id"])
    op.create_index("servers_by_project", "servers", ["project_id", "created_at", "id"])
    op.create_index("servers_unique_uuid", "servers", ["uuid"], unique=True)


def _hosts() -> None:
    op.create_table(
        "hosts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", _UUID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("hypervisor_uuid", _NAME, nullable=False),
        sa.Column("hypervisor_hostname", _NAME, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("incarnation", _NAME, nullable=False),
        sa.Column("last_seen_at", _WHEN, nullable=False),
        sa.Column("is_signed_off", sa.Boolean, nullable=False),
        sa.Column("inventory_sequence", sa.Integer, nullable=False),
        sa.Column("is_disabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("is_forced_down", sa.Boolean, nullable=False),
        sa.Column("zone", _NAME, nullable=False),
        sa.Column("created_at", _WHEN, nullable=False),
        sa.Column("updated_at", _WHEN),
        sqlite_autoincrement=True,
    )
    op.create_index("hosts_by_hypervisor_hostname", "hosts", ["hypervisor_hostname"])
    op.create_index("hosts_unique_hypervisor_uuid", "hosts", ["hypervisor_uuid"], unique=True)
    op.create_index("hosts_unique_name", "hosts", ["name"], unique=True)
    op.create_index("hosts_unique_uuid", "hosts", ["uuid"], unique=True)


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("instance_uuid", _UUID, nullable=False),
        sa.Column("request_id", _NAME, nullable=False),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("step", _WORD, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("owner", _NAME),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created_at", _WHEN, nullable=False),
        sa.Column("updated_at", _WHEN),
        sa.Column("finished_at", _WHEN),
        sa.PrimaryKeyConstraint("id", name="operations_key"),
        sa.ForeignKeyConstraint(["instance_uuid"], ["servers.uuid"], name="operations_instance_uuid_is_servers"),
    )
    op.create_index(
        "operations_by_owner",
        "operations",
        ["owner", "created_at"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "operations_unique_open_instance",
        "operations",
        ["instance_uuid"],
        unique=True,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def _migrations() -> None:
    op.create_table(
        "migrations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", _UUID, nullable=False),
        sa.Column("instance_uuid", _UUID, nullable=False),
        sa.Column("migration_type", _WORD, nullable=False),
        sa.Column("status", _WORD, nullable=False),
        sa.Column("source_compute", _NAME, nullable=False),
        sa.Column("dest_compute", _NAME),
        sa.Column("source_node", _NAME),
        sa.Column("dest_node", _NAME),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("progress", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("deadline", sa.Text),
        sa.Column("deadline_at", _WHEN),
        sa.Column("created_at", _WHEN, nullable=False),
        sa.Column("updated_at", _WHEN),
        sa.Column("started_at", _WHEN),
        sa.Column("finished_at", _WHEN),
        sa.Column("changed_at", _WHEN, nullable=False),
        sa.ForeignKeyConstraint(["uuid"], ["operations.id"], name="migrations_uuid_is_operations"),
        sqlite_autoincrement=True,
    )
    op.create_index("migrations_by_change", "migrations", ["changed_at"])
    op.create_index("migrations_by_dest", "migrations", ["dest_compute", "created_at"])
    op.create_index("migrations_by_instance", "migrations", ["instance_uuid", "id"])
    op.create_index(
        "migrations_by_open_status",
        "migrations",
        ["status", "dest_compute"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index("migrations_by_order", "migrations", ["created_at", "id"])
    op.create_index("migrations_by_project", "migrations", ["project_id", "created_at"])
    op.create_index("migrations_by_source", "migrations", ["source_compute", "created_at"])
    op.create_index("migrations_unique_uuid", "migrations", ["uuid"], unique=True)


def _instance_actions() -> None:
    op.create_table(
        "instance_actions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("action", _NAME, nullable=False),
        sa.Column("instance_uuid", _UUID, nullable=False),
        sa.Column("request_id", _NAME, nullable=False),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("started_at", _WHEN, nullable=False),
        sa.Column("updated_at", _WHEN),
        sa.Column("message", _NAME),
        sa.Column("changed_at", _WHEN, nullable=False),
        sa.ForeignKeyConstraint(["instance_uuid"], ["servers.uuid"], name="instance_actions_instance_uuid_is_servers"),
        sqlite_autoincrement=True,
    )
    op.create_index("instance_actions_by_order", "instance_actions", ["instance_uuid", "started_at", "id"])
    op.create_index("instance_actions_unique_request", "instance_actions", ["instance_uuid", "request_id"], unique=True)


def _instance_events() -> None:
    op.create_table(
        "instance_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("action_id", sa.Integer, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("host", _NAME, nullable=False),
        sa.Column("started_at", _WHEN, nullable=False),
        sa.Column("finished_at", _WHEN),
        sa.Column("result", _WORD),
        sa.Column("details", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.ForeignKeyConstraint(["action_id"], ["instance_actions.id"], name="instance_events_action_id_is_instance_actions"),
        sqlite_autoincrement=True,
    )
    op.create_index("instance_events_by_action", "instance_events", ["action_id", "id"])
    op.create_index(
        "instance_events_unique_open",
        "instance_events",
        ["action_id", "name", "host"],
        unique=True,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def _intents() -> None:
    op.create_table(
        "intents",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("operation_id", _UUID, nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("request_id", _NAME, nullable=False),
        sa.Column("requested_at", _WHEN, nullable=False),
        sa.Column("acknowledged_at", _WHEN),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name="intents_operation_id_is_operations"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "intents_by_pending",
        "intents",
        ["operation_id"],
        sqlite_where=sa.text("acknowledged_at IS NULL"),
        postgresql_where=sa.text("acknowledged_at IS NULL"),
    )


def _reports() -> None:
    op.create_table(
        "reports",
        sa.Column("operation_id", _UUID, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("host", _NAME, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("received_at", _WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "epoch", "sequence", name="reports_key"),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name="reports_operation_id_is_operations"),
    )


def _chores() -> None:
    op.create_table(
        "chores",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("operation_id", _UUID, nullable=False),
        sa.Column("host", _NAME, nullable=False),
        sa.Column("command", _NAME, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("owed_since", _WHEN, nullable=False),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name="chores_operation_id_is_operations"),
        sqlite_autoincrement=True,
    )
    op.create_index("chores_by_host", "chores", ["host", "id"])
    op.create_index("chores_unique_command", "chores", ["operation_id", "host", "command"], unique=True)


def _conductors() -> None:
    op.create_table(
        "conductors",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("started_at", _WHEN, nullable=False),
        sa.Column("renewed_at", _WHEN, nullable=False),
        sa.Column("expires_at", _WHEN, nullable=False),
        sa.PrimaryKeyConstraint("id", name="conductors_key"),
    )
