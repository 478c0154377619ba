# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs revisions on the connection that `runner` hands over. Opens none itself."""

from __future__ import annotations

from alembic import context

from wherry.db import schema

context.configure(connection=context.config.attributes["connection"], target_metadata=schema.metadata)
with context.begin_transaction():
    context.run_migrations()
