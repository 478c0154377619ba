# SPDX-License-Identifier: Apache-2.0
"""Rules of the extra specs of flavors, and so of a server's."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:os-flavor-extra-specs:index"
SHOW = "os_compute_api:os-flavor-extra-specs:show"
CREATE = "os_compute_api:os-flavor-extra-specs:create"
UPDATE = "os_compute_api:os-flavor-extra-specs:update"
DELETE = "os_compute_api:os-flavor-extra-specs:delete"

_PATH = "/flavors/{flavor_id}/os-extra_specs"

RULES = (
    base.Rule(
        name=INDEX,
        check=base.PROJECT_READER_OR_ADMIN,
        description="See the extra specs of a flavor, and of a server's flavor.",
        operations=(
            f"GET {_PATH}",
            *("GET /flavors/detail", "GET /flavors/{flavor_id}", "POST /flavors", "PUT /flavors/{flavor_id}"),
            *("GET /servers/detail", "GET /servers/{server_id}"),
        ),
    ),
    base.Rule(
        name=SHOW, check=base.PROJECT_READER_OR_ADMIN, description="See one extra spec of a flavor.", operations=(f"GET {_PATH}/{{key}}",)
    ),
    base.Rule(name=CREATE, check=base.ADMIN, description="Add extra specs to a flavor.", operations=(f"POST {_PATH}",)),
    base.Rule(name=UPDATE, check=base.ADMIN, description="Set an extra spec of a flavor.", operations=(f"PUT {_PATH}/{{key}}",)),
    base.Rule(name=DELETE, check=base.ADMIN, description="Delete an extra spec of a flavor.", operations=(f"DELETE {_PATH}/{{key}}",)),
)
