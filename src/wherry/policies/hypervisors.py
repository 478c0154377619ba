# SPDX-License-Identifier: Apache-2.0
"""Rules of hypervisors."""

from __future__ import annotations

from wherry.policies import base

LIST = "os_compute_api:os-hypervisors:list"
LIST_DETAIL = "os_compute_api:os-hypervisors:list-detail"
SHOW = "os_compute_api:os-hypervisors:show"
SEARCH = "os_compute_api:os-hypervisors:search"
SERVERS = "os_compute_api:os-hypervisors:servers"
UPTIME = "os_compute_api:os-hypervisors:uptime"
STATISTICS = "os_compute_api:os-hypervisors:statistics"

RULES = (
    base.Rule(name=LIST, check=base.ADMIN, description="List the hypervisors.", operations=("GET /os-hypervisors",)),
    base.Rule(
        name=LIST_DETAIL, check=base.ADMIN, description="List the hypervisors with details.", operations=("GET /os-hypervisors/detail",)
    ),
    base.Rule(name=SHOW, check=base.ADMIN, description="Show a hypervisor.", operations=("GET /os-hypervisors/{hypervisor_id}",)),
    base.Rule(
        name=SEARCH,
        check=base.ADMIN,
        description="Find hypervisors by a part of their host name.",
        operations=("GET /os-hypervisors/{hypervisor_id}/search",),
    ),
    base.Rule(
        name=SERVERS,
        check=base.ADMIN,
        description="List the servers of hypervisors found by a part of their host name.",
        operations=("GET /os-hypervisors/{hypervisor_id}/servers",),
    ),
    base.Rule(
        name=UPTIME,
        check=base.ADMIN,
        description="Ask how long a hypervisor has been up.",
        operations=("GET /os-hypervisors/{hypervisor_id}/uptime",),
    ),
    base.Rule(
        name=STATISTICS,
        check=base.ADMIN,
        description="Add up what all hypervisors have.",
        operations=("GET /os-hypervisors/statistics",),
    ),
)
