# SPDX-License-Identifier: Apache-2.0
"""Rules of hypervisors."""

from __future__ import annotations

from wherry.policies import base

LIST = "os_compute_api:os-hypervisors:list"
LIST_DETAIL = "os_compute_api:os-hypervisors:list-detail"
SHOW = "os_compute_api:os-hypervisors:show"

RULES = (
    base.Rule(name=LIST, check=base.ADMIN, description="List the hypervisors.", operations=("GET /os-hypervisors",)),
    base.Rule(
        name=LIST_DETAIL, check=base.ADMIN, description="List the hypervisors with details.", operations=("GET /os-hypervisors/detail",)
    ),
    base.Rule(name=SHOW, check=base.ADMIN, description="Show a hypervisor.", operations=("GET /os-hypervisors/{hypervisor_id}",)),
)
