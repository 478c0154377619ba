# SPDX-License-Identifier: Apache-2.0
"""Flavors, a few to begin with, and each server's copy of its own."""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME = sa.String(255)
_WHEN = sa.DateTime(timezone=True)

#: Id, name, memory in MiB, vCPUs, disk in GiB: the sizes that clouds have begun with for long. Delete or replace them at will.
_DEFAULTS = (
    ("1", "m1.tiny", 512, 1, 1),
    ("2", "m1.small", 2048, 1, 20),
    ("3", "m1.medium", 4096, 2, 40),
    ("4", "m1.large", 8192, 4, 80),
    ("5", "m1.xlarge", 16384, 8, 160),
)


def upgrade() -> None:
    flavors = op.create_table(
        "flavors",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("root_gib", sa.Integer, nullable=False),
        sa.Column("ephemeral_gib", sa.Integer, nullable=False),
        sa.Column("swap_mib", sa.Integer, nullable=False),
        sa.Column("rxtx_factor", sa.Float, nullable=False),
        sa.Column("is_public", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("is_disabled", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("extra_specs", sa.Text, nullable=False),
        sa.Column("created_at", _WHEN, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("flavors_unique_id", "flavors", ["id"], unique=True)
    op.create_index("flavors_unique_name", "flavors", ["name"], unique=True)
    op.bulk_insert(flavors, [_default(*row) for row in _DEFAULTS])
    op.add_column("servers", sa.Column("flavor", sa.Text))
    op.add_column("servers", sa.Column("flavor_ref", _NAME))


def _default(id_: str, name: str, memory_mib: int, vcpus: int, root_gib: int) -> dict[str, object]:
    sizes = {"memory_mib": memory_mib, "vcpus": vcpus, "root_gib": root_gib, "ephemeral_gib": 0, "swap_mib": 0}
    rest = {"rxtx_factor": 1.0, "is_public": True, "is_disabled": False, "description": None, "extra_specs": "{}"}
    return {"id": id_, "name": name, **sizes, **rest, "created_at": datetime.datetime.now(datetime.UTC)}
