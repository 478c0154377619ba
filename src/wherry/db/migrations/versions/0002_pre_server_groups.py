# SPDX-License-Identifier: Apache-2.0
"""Server groups and their members."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UUID = sa.String(36)
_NAME = sa.String(255)
_WORD = sa.String(64)
_WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "server_groups",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", _UUID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("policy", _WORD, nullable=False),
        sa.Column("max_servers_per_host", sa.Integer, nullable=False),
        sa.Column("created_at", _WHEN, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("server_groups_unique_uuid", "server_groups", ["uuid"], unique=True)
    op.create_index("server_groups_by_project", "server_groups", ["project_id", "id"])
    op.create_table(
        "server_group_members",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("group_id", sa.Integer, nullable=False),
        sa.Column("instance_uuid", _UUID, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["server_groups.id"], name="server_group_members_group_id_is_server_groups"),
        sa.ForeignKeyConstraint(["instance_uuid"], ["servers.uuid"], name="server_group_members_instance_uuid_is_servers"),
        sqlite_autoincrement=True,
    )
    op.create_index("server_group_members_by_group", "server_group_members", ["group_id", "id"])
    op.create_index("server_group_members_unique_instance", "server_group_members", ["instance_uuid"], unique=True)
