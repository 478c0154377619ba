# SPDX-License-Identifier: Apache-2.0
"""Rules of servers: lists, show, and the parts of a server that not everybody sees."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:servers:index"
DETAIL = "os_compute_api:servers:detail"
SHOW = "os_compute_api:servers:show"
INDEX_ALL_PROJECTS = "os_compute_api:servers:index:get_all_tenants"
DETAIL_ALL_PROJECTS = "os_compute_api:servers:detail:get_all_tenants"
ALL_FILTERS = "os_compute_api:servers:allow_all_filters"
HOST_STATUS = "os_compute_api:servers:show:host_status"
EXTENDED_ATTRIBUTES = "os_compute_api:os-extended-server-attributes"
DIAGNOSTICS = "os_compute_api:os-server-diagnostics"

_LISTS = ("GET /servers", "GET /servers/detail")
_DETAILED = ("GET /servers/detail", "GET /servers/{server_id}")

RULES = (
    base.Rule(name=INDEX, check=base.PROJECT_READER_OR_ADMIN, description="List servers.", operations=("GET /servers",)),
    base.Rule(
        name=DETAIL, check=base.PROJECT_READER_OR_ADMIN, description="List servers with details.", operations=("GET /servers/detail",)
    ),
    base.Rule(name=SHOW, check=base.PROJECT_READER_OR_ADMIN, description="Show a server.", operations=("GET /servers/{server_id}",)),
    base.Rule(name=INDEX_ALL_PROJECTS, check=base.ADMIN, description="List the servers of all projects.", operations=("GET /servers",)),
    base.Rule(
        name=DETAIL_ALL_PROJECTS,
        check=base.ADMIN,
        description="List the servers of all projects with details.",
        operations=("GET /servers/detail",),
    ),
    base.Rule(name=ALL_FILTERS, check=base.ADMIN, description="Filter lists by host and the like.", operations=_LISTS),
    base.Rule(name=HOST_STATUS, check=base.ADMIN, description="See the status of a server's host.", operations=_DETAILED),
    base.Rule(name=EXTENDED_ATTRIBUTES, check=base.ADMIN, description="See where a server runs.", operations=_DETAILED),
    base.Rule(
        name=DIAGNOSTICS,
        check=base.ADMIN,
        description="See the diagnostics of a server.",
        operations=("GET /servers/{server_id}/diagnostics",),
    ),
)
