# SPDX-License-Identifier: Apache-2.0
"""Rules of a server's tags."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:os-server-tags:index"
SHOW = "os_compute_api:os-server-tags:show"
UPDATE_ALL = "os_compute_api:os-server-tags:update_all"
UPDATE = "os_compute_api:os-server-tags:update"
DELETE_ALL = "os_compute_api:os-server-tags:delete_all"
DELETE = "os_compute_api:os-server-tags:delete"

_PATH = "/servers/{server_id}/tags"
_TAG = f"{_PATH}/{{tag}}"

RULES = (
    base.Rule(name=INDEX, check=base.PROJECT_READER_OR_ADMIN, description="See a server's tags.", operations=(f"GET {_PATH}",)),
    base.Rule(name=SHOW, check=base.PROJECT_READER_OR_ADMIN, description="Ask whether it has a tag.", operations=(f"GET {_TAG}",)),
    base.Rule(name=UPDATE_ALL, check=base.PROJECT_MEMBER_OR_ADMIN, description="Replace a server's tags.", operations=(f"PUT {_PATH}",)),
    base.Rule(name=UPDATE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Add a tag to a server.", operations=(f"PUT {_TAG}",)),
    base.Rule(name=DELETE_ALL, check=base.PROJECT_MEMBER_OR_ADMIN, description="Take all tags away.", operations=(f"DELETE {_PATH}",)),
    base.Rule(name=DELETE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Take a tag away.", operations=(f"DELETE {_TAG}",)),
)
