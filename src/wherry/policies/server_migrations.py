# SPDX-License-Identifier: Apache-2.0
"""Rules of a server's migrations."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:servers:migrations:index"
INDEX_HOST = "os_compute_api:servers:migrations:index:host"
SHOW = "os_compute_api:servers:migrations:show"
DELETE = "os_compute_api:servers:migrations:delete"
FORCE_COMPLETE = "os_compute_api:servers:migrations:force_complete"
MEND = "os_compute_api:servers:migrations:mend"

_LIST = ("GET /servers/{server_id}/migrations",)

RULES = (
    base.Rule(name=INDEX, check=base.PROJECT_MANAGER_OR_ADMIN, description="List the migrations of a server.", operations=_LIST),
    base.Rule(name=INDEX_HOST, check=base.ADMIN, description="See the hosts in that list.", operations=_LIST),
    base.Rule(
        name=SHOW,
        check=base.ADMIN,
        description="Show a migration of a server.",
        operations=("GET /servers/{server_id}/migrations/{migration_id}",),
    ),
    base.Rule(
        name=DELETE,
        check=base.PROJECT_MANAGER_OR_ADMIN,
        description="Abort a live migration.",
        operations=("DELETE /servers/{server_id}/migrations/{migration_id}",),
    ),
    base.Rule(
        name=FORCE_COMPLETE,
        check=base.PROJECT_MANAGER_OR_ADMIN,
        description="Force a live migration to complete.",
        operations=("POST /servers/{server_id}/migrations/{migration_id}/action (force_complete)",),
    ),
    base.Rule(
        name=MEND,
        check=base.ADMIN,
        description="Resume a broken post-copy at once, or give it up.",
        operations=(
            "POST /servers/{server_id}/migrations/{migration_id}/action (resume_post_copy)",
            "POST /servers/{server_id}/migrations/{migration_id}/action (give_up)",
        ),
    ),
)
