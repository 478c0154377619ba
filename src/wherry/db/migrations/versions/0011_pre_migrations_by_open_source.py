# SPDX-License-Identifier: Apache-2.0
"""Find who waits to leave a host, and who is leaving it, without reading the whole queue: both are asked for whenever a slot is free."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OPEN = sa.text("finished_at IS NULL")


def upgrade() -> None:
    op.create_index("migrations_by_open_source", "migrations", ["source_compute", "status"], sqlite_where=_OPEN, postgresql_where=_OPEN)
