# SPDX-License-Identifier: Apache-2.0
"""Rules of making and deleting servers."""

from __future__ import annotations

from wherry.policies import base

CREATE = "os_compute_api:servers:create"
FORCED_HOST = "os_compute_api:servers:create:forced_host"
#: Nova's is compute:servers:create:requested_destination, the only one of its rules with another prefix.
REQUESTED_DESTINATION = "os_compute_api:servers:create:requested_destination"
DELETE = "os_compute_api:servers:delete"
FORCE_DELETE = "os_compute_api:os-deferred-delete:force"
CONSOLE_OUTPUT = "os_compute_api:os-console-output"

_CREATE = ("POST /servers",)

RULES = (
    base.Rule(name=CREATE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Make servers.", operations=_CREATE),
    base.Rule(name=FORCED_HOST, check=base.ADMIN, description="Name the host of a new server past the filters.", operations=_CREATE),
    base.Rule(name=REQUESTED_DESTINATION, check=base.ADMIN, description="Name the host of a new server.", operations=_CREATE),
    base.Rule(name=DELETE, check=base.PROJECT_MEMBER_OR_ADMIN, description="Delete a server.", operations=("DELETE /servers/{server_id}",)),
    base.Rule(
        name=FORCE_DELETE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Delete a server at once, which is how all are deleted here.",
        operations=("POST /servers/{server_id}/action (forceDelete)",),
    ),
    base.Rule(
        name=CONSOLE_OUTPUT,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Read the console of a server.",
        operations=("POST /servers/{server_id}/action (os-getConsoleOutput)",),
    ),
)
