# SPDX-License-Identifier: Apache-2.0
"""Rules of services."""

from __future__ import annotations

from wherry.policies import base

LIST = "os_compute_api:os-services:list"
UPDATE = "os_compute_api:os-services:update"

RULES = (
    base.Rule(name=LIST, check=base.ADMIN, description="List the services.", operations=("GET /os-services",)),
    base.Rule(
        name=UPDATE,
        check=base.ADMIN,
        description="Enable or disable a service, or declare its host dead.",
        operations=("PUT /os-services/{service_id}",),
    ),
)
