# SPDX-License-Identifier: Apache-2.0
"""The rule of changing what a server is called and how it is described."""

from __future__ import annotations

from wherry.policies import base

UPDATE = "os_compute_api:servers:update"

RULES = (
    base.Rule(name=UPDATE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Rename a server.", operations=("PUT /servers/{server_id}",)),
)
