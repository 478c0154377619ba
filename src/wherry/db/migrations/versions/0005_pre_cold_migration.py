# SPDX-License-Identifier: Apache-2.0
"""Sizes before and after a cold migration or resize, for what it claims of both hosts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NAMES = ("old_memory_mib", "old_vcpus", "old_root_gib", "new_memory_mib", "new_vcpus", "new_root_gib")


def upgrade() -> None:
    for name in _NAMES:
        op.add_column("migrations", sa.Column(name, sa.Integer))
