# SPDX-License-Identifier: Apache-2.0
"""Rules of what hosts are grouped by: aggregates and availability zones."""

from __future__ import annotations

from wherry.policies import base

AGGREGATES = "os_compute_api:os-aggregates:index"
AGGREGATE = "os_compute_api:os-aggregates:show"
ZONES = "os_compute_api:os-availability-zone:list"
ZONES_DETAIL = "os_compute_api:os-availability-zone:detail"

RULES = (
    base.Rule(name=AGGREGATES, check=base.ADMIN, description="List the aggregates.", operations=("GET /os-aggregates",)),
    base.Rule(name=AGGREGATE, check=base.ADMIN, description="Show an aggregate.", operations=("GET /os-aggregates/{aggregate_id}",)),
    base.Rule(name=ZONES, check=base.ANYBODY, description="List the availability zones.", operations=("GET /os-availability-zone",)),
    base.Rule(
        name=ZONES_DETAIL,
        check=base.ADMIN,
        description="List the availability zones with their hosts.",
        operations=("GET /os-availability-zone/detail",),
    ),
)
