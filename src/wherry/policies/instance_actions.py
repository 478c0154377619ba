# SPDX-License-Identifier: Apache-2.0
"""Rules of instance actions and their events."""

from __future__ import annotations

from wherry.policies import base

LIST = "os_compute_api:os-instance-actions:list"
SHOW = "os_compute_api:os-instance-actions:show"
EVENTS = "os_compute_api:os-instance-actions:events"
EVENTS_DETAILS = "os_compute_api:os-instance-actions:events:details"

_SHOW = ("GET /servers/{server_id}/os-instance-actions/{request_id}",)

RULES = (
    base.Rule(
        name=LIST,
        check=base.PROJECT_READER_OR_ADMIN,
        description="List the actions of a server.",
        operations=("GET /servers/{server_id}/os-instance-actions",),
    ),
    base.Rule(name=SHOW, check=base.PROJECT_READER_OR_ADMIN, description="Show an action of a server.", operations=_SHOW),
    base.Rule(
        name=EVENTS,
        check=base.ADMIN,
        description="See tracebacks and hosts in an action's events, and before 2.51 the events themselves.",
        operations=_SHOW,
    ),
    base.Rule(name=EVENTS_DETAILS, check=base.ADMIN, description="See the details of an action's events.", operations=_SHOW),
)
