# SPDX-License-Identifier: Apache-2.0
"""When a host's machine started."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("booted_at", sa.DateTime(timezone=True)))
