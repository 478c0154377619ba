# SPDX-License-Identifier: Apache-2.0
"""Rules of server groups."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:os-server-groups:index"
INDEX_ALL_PROJECTS = "os_compute_api:os-server-groups:index:all_projects"
SHOW = "os_compute_api:os-server-groups:show"
CREATE = "os_compute_api:os-server-groups:create"
DELETE = "os_compute_api:os-server-groups:delete"
#: Wherry's own: Nova fixes the members when servers are made.
UPDATE = "os_compute_api:os-server-groups:update"

_LIST = ("GET /os-server-groups",)
_ACTION = "POST /os-server-groups/{group_id}/action"

RULES = (
    base.Rule(name=INDEX, check=base.PROJECT_READER_OR_ADMIN, description="List server groups.", operations=_LIST),
    base.Rule(name=INDEX_ALL_PROJECTS, check=base.ADMIN, description="List the server groups of all projects.", operations=_LIST),
    base.Rule(
        name=SHOW,
        check=base.PROJECT_READER_OR_ADMIN,
        description="Show a server group.",
        operations=("GET /os-server-groups/{group_id}",),
    ),
    base.Rule(name=CREATE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Make a server group.", operations=("POST /os-server-groups",)),
    base.Rule(
        name=DELETE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Delete a server group.",
        operations=("DELETE /os-server-groups/{group_id}",),
    ),
    base.Rule(
        name=UPDATE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Put servers into a server group, and take them out.",
        operations=(f"{_ACTION} (add_server)", f"{_ACTION} (remove_server)"),
    ),
)
