# SPDX-License-Identifier: Apache-2.0
"""The address that a cold migration goes to, and the numbers of the flavors before and after a migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("migrations", sa.Column("dest_host", sa.String(255)))
    op.add_column("migrations", sa.Column("old_flavor_number", sa.Integer))
    op.add_column("migrations", sa.Column("new_flavor_number", sa.Integer))
