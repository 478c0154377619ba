# SPDX-License-Identifier: Apache-2.0
"""[scheduler]: how a destination is chosen.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerSection:
    """Options of [scheduler]."""

    SECTION: ClassVar[str] = "scheduler"
    ABOUT: ClassVar[str] = "Choice of a destination."

    enabled_filters: tuple[str, ...] = opt.option(
        (
            "up",
            "enabled",
            "not_source",
            "live_migration",
            "hypervisor_type",
            "hypervisor_version",
            "memory",
            "vcpus",
            "server_group",
            "availability_zone",
        ),
        "Conditions that a destination must meet, in the order in which they are asked.",
    )
    ram_weight_multiplier: float = opt.option(
        1.0,
        "Weight of free memory: positive spreads servers, negative stacks them, 0 ignores it.",
        mutable=True,
    )
    cpu_weight_multiplier: float = opt.option(
        1.0,
        "Weight of free virtual CPUs: positive spreads, negative stacks, 0 ignores it.",
        mutable=True,
    )
    migrations_weight_multiplier: float = opt.option(
        -1.0,
        "Weight of the migrations a host takes part in: negative avoids busy hosts, 0 ignores it.",
        mutable=True,
    )
    soft_affinity_weight_multiplier: float = opt.option(
        1.0,
        "Weight of the other servers of a soft-affinity group on a host, 0 ignores them.",
        mutable=True,
    )
    soft_anti_affinity_weight_multiplier: float = opt.option(
        1.0,
        "Weight of a host's emptiness of the other servers of a soft-anti-affinity group, 0 ignores it.",
        mutable=True,
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
