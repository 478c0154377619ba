# SPDX-License-Identifier: Apache-2.0
"""Cold migrations and resizes of a schedule: asked for, confirmed and reverted at any time, with faults of the calls that only they make.

Draws from a stream of its own, so that what else a seed stands for is as it was without them. Does nothing.
"""

from __future__ import annotations

import random
from typing import Any

from wherry.testing.simulation import chance as chances

#: Calls of the hypervisor that only these make.
_METHODS = (
    "check_departure",
    "prepare_arrival",
    "retire_guest",
    "send_disks",
    "receive_guest",
    "restore_guest",
    "discard_guest",
    "release_guest",
    "start_guest",
    "shut_down_guest",
    "power_off_guest",
)
#: The sizes that come with the database.
_FLAVORS = ("1", "2", "3")
#: Share of the schedules that have any.
_SHARE = 0.6


def options(draw: random.Random) -> dict[str, dict[str, Any]]:
    """Draw what is configured of them."""
    return {
        "DEFAULT": {"resize_confirm_window": draw.choice((0, 0, 10, 40)), "allow_resize_to_same_host": draw.random() < 0.4},
        "conductor": {"confirm_sweep_interval_seconds": 5.0, "move_poll_interval_seconds": draw.choice((0.2, 1.0, 5.0))},
    }


def asked(draw: random.Random, hosts: list[str], guests: list[str], seconds: float) -> list[tuple[float, str, str, dict[str, Any]]]:
    """Draw what is asked: when, what, of which guest, with which body."""
    found: list[tuple[float, str, str, dict[str, Any]]] = []
    if draw.random() > _SHARE:
        return found
    for _ in range(draw.randint(1, 6)):
        at, name = draw.random() * seconds * 0.7, draw.choice(guests)
        if draw.random() < 0.6:
            host = draw.choice(hosts) if draw.random() < 0.6 else None
            found.append((at, "action", name, {"migrate": {"host": host}}))
        else:
            found.append((at, "action", name, {"resize": {"flavorRef": draw.choice(_FLAVORS)}}))
        for _ in range(draw.choice((0, 1, 1, 2))):
            later = at + draw.random() ** 2 * seconds
            found.append((later, "action", name, {chances.weighted(draw, ((1, "confirmResize"), (2, "revertResize"))): None}))
    return found


def faults(draw: random.Random, hosts: list[str], seconds: float) -> list[tuple[float, str, float, dict[str, Any]]]:
    """Draw which of their calls fail: from when, at which host, for how long, and how."""
    found = []
    for _ in range(draw.choice((0, 0, 1, 3))):
        keys = {
            "kind": chances.weighted(draw, ((4, "raise"), (3, "delay"), (1, "hang"), (1, "crash"))),
            "method": draw.choice(_METHODS),
            "when": draw.choice(("before", "after")),
            "nth": draw.choice((0, 1, 1, 2)),
            "slug": draw.choice(("hypervisor_failure", "hypervisor_unavailable")),
            "seconds": draw.choice((0.3, 2.0, 12.0)),
        }
        found.append((draw.random() * seconds, draw.choice(hosts), draw.random() ** 2 * 25.0, keys))
    return found
