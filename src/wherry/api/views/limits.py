# SPDX-License-Identifier: Apache-2.0
"""Limits, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from wherry.api import call as api_call
from wherry.db.repositories import servers as server_rows

#: Nova's way to say that there is no limit.
_NONE = -1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """What the handler gives."""

    totals: server_rows.Totals
    server_groups: int


def show(used: Used, call: api_call.Call) -> dict[str, Any]:
    """Give the limits, of which there are few, and what is used."""
    unlimited = ["maxTotalInstances", "maxTotalCores", "maxTotalRAMSize", "maxTotalKeypairs"]
    unlimited += ["maxServerGroups", "maxServerGroupMembers"]
    absolute: dict[str, int] = {}
    if call.version < (2, 36):
        unlimited += ["maxTotalFloatingIps", "maxSecurityGroups", "maxSecurityGroupRules"]
        absolute |= {"totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0}
    if call.version < (2, 39):
        unlimited.append("maxImageMeta")
    if call.version < (2, 57):
        unlimited += ["maxPersonality", "maxPersonalitySize"]
    absolute |= dict.fromkeys(unlimited, _NONE)
    absolute |= {
        "maxServerMeta": call.parts.config.api.max_server_metadata_items,
        "totalInstancesUsed": used.totals.servers,
        "totalCoresUsed": used.totals.vcpus,
        "totalRAMUsed": used.totals.memory_mib,
        "totalServerGroupsUsed": used.server_groups,
    }
    return {"limits": {"rate": [], "absolute": absolute}}
