# SPDX-License-Identifier: Apache-2.0
"""Rules of a server's metadata."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:server-metadata:index"
SHOW = "os_compute_api:server-metadata:show"
CREATE = "os_compute_api:server-metadata:create"
UPDATE_ALL = "os_compute_api:server-metadata:update_all"
UPDATE = "os_compute_api:server-metadata:update"
DELETE = "os_compute_api:server-metadata:delete"

_PATH = "/servers/{server_id}/metadata"
_ITEM = f"{_PATH}/{{key}}"

RULES = (
    base.Rule(name=INDEX, check=base.PROJECT_READER_OR_ADMIN, description="See a server's metadata.", operations=(f"GET {_PATH}",)),
    base.Rule(name=SHOW, check=base.PROJECT_READER_OR_ADMIN, description="See one item of it.", operations=(f"GET {_ITEM}",)),
    base.Rule(name=CREATE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Add to a server's metadata.", operations=(f"POST {_PATH}",)),
    base.Rule(name=UPDATE_ALL, check=base.PROJECT_MEMBER_OR_ADMIN, description="Replace all of it.", operations=(f"PUT {_PATH}",)),
    base.Rule(name=UPDATE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Set one item of it.", operations=(f"PUT {_ITEM}",)),
    base.Rule(name=DELETE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Delete one item of it.", operations=(f"DELETE {_ITEM}",)),
)
