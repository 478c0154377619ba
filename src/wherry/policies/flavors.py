# SPDX-License-Identifier: Apache-2.0
"""Rules of flavors. Nova asks none for reading them; READ has the name that it had there once, SEE_PRIVATE the one of a later list."""

from __future__ import annotations

from wherry.policies import base

READ = "os_compute_api:flavors"
SEE_PRIVATE = "os_compute_api:os-flavor-access"
CREATE = "os_compute_api:os-flavor-manage:create"
UPDATE = "os_compute_api:os-flavor-manage:update"
DELETE = "os_compute_api:os-flavor-manage:delete"

_READS = ("GET /flavors", "GET /flavors/detail", "GET /flavors/{flavor_id}")

RULES = (
    base.Rule(name=READ, check=base.ANYBODY, description="See the flavors.", operations=_READS),
    base.Rule(
        name=SEE_PRIVATE,
        check=base.ADMIN,
        description="See flavors that are not public, and make servers of them.",
        operations=_READS,
    ),
    base.Rule(name=CREATE, check=base.ADMIN, description="Make a flavor.", operations=("POST /flavors",)),
    base.Rule(name=UPDATE, check=base.ADMIN, description="Describe a flavor.", operations=("PUT /flavors/{flavor_id}",)),
    base.Rule(name=DELETE, check=base.ADMIN, description="Delete a flavor.", operations=("DELETE /flavors/{flavor_id}",)),
)
