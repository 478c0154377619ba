# SPDX-License-Identifier: Apache-2.0
"""Rules of server actions."""

from __future__ import annotations

from wherry.policies import base

MIGRATE_LIVE = "os_compute_api:os-migrate-server:migrate_live"
MIGRATE_LIVE_HOST = "os_compute_api:os-migrate-server:migrate_live:host"

_ACTION = ("POST /servers/{server_id}/action (os-migrateLive)",)

RULES = (
    base.Rule(name=MIGRATE_LIVE, check=base.PROJECT_MANAGER_OR_ADMIN, description="Live-migrate a server.", operations=_ACTION),
    base.Rule(name=MIGRATE_LIVE_HOST, check=base.ADMIN, description="Name the host to live-migrate to.", operations=_ACTION),
)
