# SPDX-License-Identifier: Apache-2.0
"""Find the operations of a server without reading all that ever were: moves that wait are looked at in each sweep."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("operations_by_instance", "operations", ["instance_uuid", "created_at"])
