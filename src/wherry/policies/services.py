# SPDX-License-Identifier: Apache-2.0
"""Rules of services."""

from __future__ import annotations

from wherry.policies import base

LIST = "os_compute_api:os-services:list"
UPDATE = "os_compute_api:os-services:update"
DELETE = "os_compute_api:os-services:delete"

RULES = (
    base.Rule(name=LIST, check=base.ADMIN, description="List the services.", operations=("GET /os-services",)),
    base.Rule(
        name=UPDATE,
        check=base.ADMIN,
        description="Enable or disable a service, or declare its host dead.",
        operations=("PUT /os-services/{service_id}",),
    ),
    base.Rule(
        name=DELETE,
        check=base.ADMIN,
        description="Remove a service, and with it its host.",
        operations=("DELETE /os-services/{service_id}",),
    ),
)
