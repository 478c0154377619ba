# SPDX-License-Identifier: Apache-2.0
"""What a host says to run that is recorded elsewhere, and that its host does not confirm."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "disputes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("instance_uuid", sa.String(36), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("recorded_host", sa.String(255), nullable=False),
        sa.Column("recorded_state", sa.String(64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["instance_uuid"], ["servers.uuid"], name="disputes_instance_uuid_is_servers"),
        sqlite_autoincrement=True,
    )
    op.create_index("disputes_unique_host", "disputes", ["instance_uuid", "host"], unique=True)
    op.create_index("disputes_by_host", "disputes", ["host", "id"])
