# SPDX-License-Identifier: Apache-2.0
"""What servers that were made from images know of their making."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("servers", sa.Column("description", sa.Text))
    op.add_column("servers", sa.Column("hostname", sa.String(255)))
    op.add_column("servers", sa.Column("image_ref", sa.String(255)))
    op.add_column("servers", sa.Column("tags", sa.Text))
    op.add_column("servers", sa.Column("reservation_id", sa.String(255)))
    op.add_column("servers", sa.Column("birth", sa.Text))
    op.add_column("servers", sa.Column("fault", sa.Text))
