# SPDX-License-Identifier: Apache-2.0
"""Server groups, in the fields of each microversion. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.model import server_group as model


def index(groups: Sequence[model.ServerGroup], call: api_call.Call) -> dict[str, Any]:
    """Give the list."""
    return {"server_groups": [_row(group, call) for group in groups]}


def show(group: model.ServerGroup, call: api_call.Call) -> dict[str, Any]:
    """Give one group."""
    return {"server_group": _row(group, call)}


def _row(group: model.ServerGroup, call: api_call.Call) -> dict[str, Any]:
    row: dict[str, Any] = {"id": group.uuid, "name": group.name, "members": list(group.members)}
    if call.version >= (2, 13):
        row["project_id"] = group.project_id
        row["user_id"] = group.user_id
    if call.version >= (2, 64):
        row["policy"] = group.policy.value
        is_limited = group.policy is model.Policy.ANTI_AFFINITY and group.max_servers_per_host > 1
        row["rules"] = {"max_server_per_host": group.max_servers_per_host} if is_limited else {}
    else:
        row["policies"] = [group.policy.value]
        row["metadata"] = {}
    return row
