# SPDX-License-Identifier: Apache-2.0
"""Tables, columns and indexes, as they are now. Columns carry the names of the records' fields.

Creates nothing in production: `migrations/` does, and a test holds the two equal.
"""

from __future__ import annotations

import sqlalchemy as sa

from wherry.db import types
from wherry.model import deadline, flavor, guest, host, instance_actions, migration, operation, progress, server, server_group, states

metadata = sa.MetaData(
    naming_convention={
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
        "uq": "%(table_name)s_unique_%(column_0_N_name)s",
        "fk": "%(table_name)s_%(column_0_N_name)s_is_%(referred_table_name)s",
        "pk": "%(table_name)s_key",
    }
)

#: What a guest takes of its host, by the names of the columns.
SIZE_PARTS = ("memory_mib", "vcpus", "root_gib")
_UUID = sa.String(36)
_NAME = sa.String(255)
_WHEN = types.UtcDateTime


def _number(name: str, default: int = 0) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, default=default)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(create_constraint=False), nullable=False, default=False)


servers = sa.Table(
    "servers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", _UUID, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("host", _NAME),
    sa.Column("node", _NAME),
    sa.Column("vm_state", types.Word(server.VmState), nullable=False),
    sa.Column("task_state", types.Word(server.TaskState)),
    sa.Column("power_state", types.Number(server.PowerState), nullable=False),
    _number("memory_mib"),
    _number("vcpus"),
    _number("root_gib"),
    # The copy of its flavor; none for a guest that was found, whose flavor is told from its size.
    sa.Column("flavor", types.Json(flavor.Flavor, is_immutable=True)),
    # The flavor's id again, for finding.
    sa.Column("flavor_ref", _NAME),
    _number("progress"),
    sa.Column("locked_by", _NAME),
    sa.Column("locked_reason", _NAME),
    sa.Column("metadata", types.Json(dict[str, str]), nullable=False),
    sa.Column("disks", types.Json(tuple[guest.Disk, ...], is_immutable=True), nullable=False),
    sa.Column("reason", _NAME),
    sa.Column("description", sa.Text),
    sa.Column("hostname", _NAME),
    sa.Column("image_ref", _NAME),
    sa.Column("tags", types.Words),
    sa.Column("reservation_id", _NAME),
    sa.Column("birth", types.Json(server.Birth, is_immutable=True)),
    sa.Column("fault", types.Json(server.Fault)),
    sa.Column("created_at", _WHEN, nullable=False),
    sa.Column("updated_at", _WHEN),
    sa.Column("launched_at", _WHEN),
    sa.Column("deleted_at", _WHEN),
    _number("generation"),
    # The later of created_at and updated_at, for changes-since and its index.
    sa.Column("changed_at", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("servers_unique_uuid", servers.c.uuid, unique=True)
sa.Index("servers_by_order", servers.c.created_at, servers.c.id)
sa.Index("servers_by_project", servers.c.project_id, servers.c.created_at, servers.c.id)
sa.Index("servers_by_host", servers.c.host, servers.c.deleted_at)
sa.Index("servers_by_change", servers.c.changed_at)

hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", _UUID, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    # Copies of what the description says, for uniqueness and for finding.
    sa.Column("hypervisor_uuid", _NAME, nullable=False),
    sa.Column("hypervisor_hostname", _NAME, nullable=False),
    sa.Column("description", types.Json(host.HostDescription, is_immutable=True), nullable=False),
    sa.Column("incarnation", _NAME, nullable=False),
    sa.Column("last_seen_at", _WHEN, nullable=False),
    # Whether the agent of this incarnation said goodbye, so that its successor need not wait.
    _flag("is_signed_off"),
    # The latest inventory of this incarnation that was taken in.
    _number("inventory_sequence"),
    _flag("is_disabled"),
    sa.Column("disabled_reason", sa.Text),
    _flag("is_forced_down"),
    sa.Column("zone", _NAME, nullable=False),
    sa.Column("created_at", _WHEN, nullable=False),
    sa.Column("updated_at", _WHEN),
    sa.Column("booted_at", _WHEN),
    sqlite_autoincrement=True,
)
sa.Index("hosts_unique_uuid", hosts.c.uuid, unique=True)
sa.Index("hosts_unique_name", hosts.c.name, unique=True)
sa.Index("hosts_unique_hypervisor_uuid", hosts.c.hypervisor_uuid, unique=True)
sa.Index("hosts_by_hypervisor_hostname", hosts.c.hypervisor_hostname)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", _UUID, primary_key=True),
    sa.Column("kind", types.Word(operation.OperationKind), nullable=False),
    sa.Column("instance_uuid", _UUID, sa.ForeignKey("servers.uuid"), nullable=False),
    sa.Column("request_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("request", types.Json(operation.Request, newer=operation.newer_request), nullable=False),
    sa.Column("step", types.Word(operation.StepName), nullable=False),
    sa.Column("plan", types.Json(migration.DrivenPlan), nullable=False),
    sa.Column("owner", _NAME),
    _number("epoch"),
    _number("generation"),
    sa.Column("created_at", _WHEN, nullable=False),
    sa.Column("updated_at", _WHEN),
    sa.Column("finished_at", _WHEN),
)
_is_open = operations.c.finished_at.is_(None)
# The last word on "one operation at a time for a server".
sa.Index("operations_unique_open_instance", operations.c.instance_uuid, unique=True, sqlite_where=_is_open, postgresql_where=_is_open)
sa.Index("operations_by_instance", operations.c.instance_uuid, operations.c.created_at)
sa.Index("operations_by_owner", operations.c.owner, operations.c.created_at, sqlite_where=_is_open, postgresql_where=_is_open)

migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", _UUID, sa.ForeignKey("operations.id"), nullable=False),
    sa.Column("instance_uuid", _UUID, nullable=False),
    sa.Column("migration_type", types.Word(migration.MigrationType), nullable=False),
    sa.Column("status", types.Word(states.Status), nullable=False),
    sa.Column("source_compute", _NAME, nullable=False),
    sa.Column("dest_compute", _NAME),
    sa.Column("source_node", _NAME),
    sa.Column("dest_node", _NAME),
    # Address of the destination of a cold migration or resize; empty where it told none.
    sa.Column("dest_host", _NAME),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("progress", types.Json(progress.Progress)),
    sa.Column("reason", types.Json(migration.Reason)),
    sa.Column("deadline", types.Json(deadline.Deadline)),
    sa.Column("deadline_at", _WHEN),
    # What a cold migration or resize takes of the host that it comes from, and of the one that it goes to; empty for a live one.
    *(sa.Column(f"{which}_{part}", sa.Integer) for which in ("old", "new") for part in SIZE_PARTS),
    # Numbers of the server's flavor before and after; empty for a guest that was found.
    sa.Column("old_flavor_number", sa.Integer),
    sa.Column("new_flavor_number", sa.Integer),
    sa.Column("created_at", _WHEN, nullable=False),
    sa.Column("updated_at", _WHEN),
    sa.Column("started_at", _WHEN),
    sa.Column("finished_at", _WHEN),
    # The later of created_at and updated_at, for changes-since and its index.
    sa.Column("changed_at", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
_is_in_progress = migrations.c.finished_at.is_(None)
sa.Index("migrations_unique_uuid", migrations.c.uuid, unique=True)
sa.Index("migrations_by_instance", migrations.c.instance_uuid, migrations.c.id)
sa.Index("migrations_by_order", migrations.c.created_at, migrations.c.id)
sa.Index("migrations_by_change", migrations.c.changed_at)
sa.Index("migrations_by_source", migrations.c.source_compute, migrations.c.created_at)
sa.Index("migrations_by_dest", migrations.c.dest_compute, migrations.c.created_at)
sa.Index("migrations_by_project", migrations.c.project_id, migrations.c.created_at)
# Counting slots and claims reads the few open rows only, however long the history grows.
sa.Index(
    "migrations_by_open_status",
    migrations.c.status,
    migrations.c.dest_compute,
    sqlite_where=_is_in_progress,
    postgresql_where=_is_in_progress,
)
sa.Index(
    "migrations_by_open_source",
    migrations.c.source_compute,
    migrations.c.status,
    sqlite_where=_is_in_progress,
    postgresql_where=_is_in_progress,
)

actions = sa.Table(
    "instance_actions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # Nova's word for what was asked; text, so that a release that knows fewer can read it.
    sa.Column("action", _NAME, nullable=False),
    sa.Column("instance_uuid", _UUID, sa.ForeignKey("servers.uuid"), nullable=False),
    sa.Column("request_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("started_at", _WHEN, nullable=False),
    sa.Column("updated_at", _WHEN),
    sa.Column("message", _NAME),
    sa.Column("changed_at", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("instance_actions_unique_request", actions.c.instance_uuid, actions.c.request_id, unique=True)
sa.Index("instance_actions_by_order", actions.c.instance_uuid, actions.c.started_at, actions.c.id)

events = sa.Table(
    "instance_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("action_id", sa.Integer, sa.ForeignKey("instance_actions.id"), nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("started_at", _WHEN, nullable=False),
    sa.Column("finished_at", _WHEN),
    sa.Column("result", types.Word(instance_actions.Result)),
    sa.Column("details", sa.Text),
    sa.Column("traceback", sa.Text),
    sqlite_autoincrement=True,
)
_is_unfinished = events.c.finished_at.is_(None)
sa.Index("instance_events_by_action", events.c.action_id, events.c.id)
# Makes opening an event idempotent: a stage tried again on the same host after it ended gets a row of its own.
sa.Index(
    "instance_events_unique_open",
    events.c.action_id,
    events.c.name,
    events.c.host,
    unique=True,
    sqlite_where=_is_unfinished,
    postgresql_where=_is_unfinished,
)

intents = sa.Table(
    "intents",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("operation_id", _UUID, sa.ForeignKey("operations.id"), nullable=False),
    sa.Column("kind", types.Word(operation.IntentKind), nullable=False),
    sa.Column("request_id", _NAME, nullable=False),
    sa.Column("requested_at", _WHEN, nullable=False),
    sa.Column("acknowledged_at", _WHEN),
    sqlite_autoincrement=True,
)
_is_pending = intents.c.acknowledged_at.is_(None)
sa.Index("intents_by_pending", intents.c.operation_id, sqlite_where=_is_pending, postgresql_where=_is_pending)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("operation_id", _UUID, sa.ForeignKey("operations.id"), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", types.Word(operation.ReportKind), nullable=False),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("body", types.Json(dict[str, object]), nullable=False),
    sa.Column("received_at", _WHEN, nullable=False),
)

chores = sa.Table(
    "chores",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("operation_id", _UUID, sa.ForeignKey("operations.id"), nullable=False),
    sa.Column("host", _NAME, nullable=False),
    # Name of the message that the host is owed, and the message.
    sa.Column("command", _NAME, nullable=False),
    sa.Column("body", types.Json(dict[str, object]), nullable=False),
    sa.Column("owed_since", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("chores_unique_command", chores.c.operation_id, chores.c.host, chores.c.command, unique=True)
sa.Index("chores_by_host", chores.c.host, chores.c.id)

disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("instance_uuid", _UUID, sa.ForeignKey("servers.uuid"), nullable=False),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("recorded_host", _NAME, nullable=False),
    sa.Column("recorded_state", types.Word(guest.GuestState), nullable=False),
    sa.Column("since", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("disputes_unique_host", disputes.c.instance_uuid, disputes.c.host, unique=True)
sa.Index("disputes_by_host", disputes.c.host, disputes.c.id)

server_groups = sa.Table(
    "server_groups",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", _UUID, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("policy", types.Word(server_group.Policy), nullable=False),
    sa.Column("max_servers_per_host", sa.Integer, nullable=False),
    sa.Column("created_at", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("server_groups_unique_uuid", server_groups.c.uuid, unique=True)
sa.Index("server_groups_by_project", server_groups.c.project_id, server_groups.c.id)

server_group_members = sa.Table(
    "server_group_members",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("group_id", sa.Integer, sa.ForeignKey("server_groups.id"), nullable=False),
    sa.Column("instance_uuid", _UUID, sa.ForeignKey("servers.uuid"), nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("server_group_members_by_group", server_group_members.c.group_id, server_group_members.c.id)
# A server is in one group at most.
sa.Index("server_group_members_unique_instance", server_group_members.c.instance_uuid, unique=True)

flavors = sa.Table(
    "flavors",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", _NAME, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    _number("memory_mib"),
    _number("vcpus"),
    _number("root_gib"),
    _number("ephemeral_gib"),
    _number("swap_mib"),
    sa.Column("rxtx_factor", sa.Float, nullable=False),
    _flag("is_public"),
    _flag("is_disabled"),
    sa.Column("description", sa.Text),
    sa.Column("extra_specs", types.Json(dict[str, str]), nullable=False),
    sa.Column("created_at", _WHEN, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("flavors_unique_id", flavors.c.id, unique=True)
sa.Index("flavors_unique_name", flavors.c.name, unique=True)

conductors = sa.Table(
    "conductors",
    metadata,
    sa.Column("id", _NAME, primary_key=True),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("started_at", _WHEN, nullable=False),
    sa.Column("renewed_at", _WHEN, nullable=False),
    sa.Column("expires_at", _WHEN, nullable=False),
)

apis = sa.Table(
    "apis",
    metadata,
    sa.Column("id", _NAME, primary_key=True),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("address", _NAME, nullable=False),
    sa.Column("started_at", _WHEN, nullable=False),
    sa.Column("heard_at", _WHEN, nullable=False),
)

#: Rows that are only there to be locked. `cluster` guards the limits that hold for all hosts together.
locks = sa.Table("locks", metadata, sa.Column("name", _NAME, primary_key=True))
CLUSTER_LOCK = "cluster"
