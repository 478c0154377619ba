# SPDX-License-Identifier: Apache-2.0
"""Server groups: which servers are to be kept apart or together, and what that means for a destination.

Pure. A server is in one group at most, as in Nova.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping


class Policy(enum.StrEnum):
    """Nova's policies. The soft ones weigh hosts; the others forbid them."""

    ANTI_AFFINITY = "anti-affinity"
    AFFINITY = "affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"
    SOFT_AFFINITY = "soft-affinity"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerGroup:
    """One group with its members."""

    id: int
    uuid: str
    name: str
    project_id: str
    user_id: str
    policy: Policy
    #: How many members of an anti-affinity group one host may have.
    max_servers_per_host: int = 1
    created_at: datetime.datetime
    #: uuids of servers, in the order in which they joined.
    members: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Where the other members of a server's group are."""

    group: str
    policy: Policy
    max_servers_per_host: int
    #: Host -> how many of them are on it, or on their way to it.
    on_hosts: Mapping[str, int]

    def objection(self, host: str) -> str:
        """Say why the policy forbids this host; empty when it does not."""
        there = self.on_hosts.get(host, 0)
        if self.policy is Policy.ANTI_AFFINITY and there >= self.max_servers_per_host:
            return f"{there} of its servers are there or on their way, of at most {self.max_servers_per_host}"
        if self.policy is Policy.AFFINITY and self.on_hosts and not there:
            return f"its servers are on {', '.join(sorted(self.on_hosts))}"
        return ""

    def liking(self, host: str) -> float:
        """Say how much a soft policy likes this host: the more, the better; 0 without one."""
        there = float(self.on_hosts.get(host, 0))
        if self.policy is Policy.SOFT_AFFINITY:
            return there
        return -there if self.policy is Policy.SOFT_ANTI_AFFINITY else 0.0
