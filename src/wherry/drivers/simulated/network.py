# SPDX-License-Identifier: Apache-2.0
"""Links, and how the transfers that cross them share their bandwidth. Arithmetic only: knows neither time nor guests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

MIB = 1 << 20


class Flow(Protocol):
    """What crosses links and wants bandwidth."""

    links: tuple[Link, ...]
    #: Most that it takes, in bytes a second; infinite for no limit.
    limit_bytes_per_second: float
    #: What it is given, in bytes a second.
    rate: float


class Link:
    """One direction of one connection, with what crosses it now."""

    __slots__ = ("flows", "is_up", "latency_seconds", "mib_per_s", "name")

    def __init__(self, name: str, mib_per_s: float, latency_seconds: float = 0.0) -> None:
        self.name = name
        self.mib_per_s = mib_per_s
        self.latency_seconds = latency_seconds
        self.is_up = True
        #: In order of arrival, so that every run shares alike.
        self.flows: dict[Flow, None] = {}

    @property
    def bytes_per_second(self) -> float:
        """What it carries now."""
        return self.mib_per_s * MIB if self.is_up else 0.0


def connected(links: Iterable[Link]) -> list[Flow]:
    """Give every flow whose share depends on these links, directly or through other flows."""
    found: dict[Flow, None] = {}
    seen: dict[Link, None] = dict.fromkeys(links)
    waiting = list(seen)
    while waiting:
        for flow in waiting.pop().flows:
            if flow in found:
                continue
            found[flow] = None
            for link in flow.links:
                if link not in seen:
                    seen[link] = None
                    waiting.append(link)
    return list(found)


def share(flows: Sequence[Flow]) -> None:
    """Set each flow's rate to its max-min fair share: no one can get more without someone who has no more getting less.

    The flows must be all of those that cross their links, as `connected` gives them.
    """
    if len(flows) == 1:
        flow = flows[0]
        flow.rate = min(flow.limit_bytes_per_second, min((link.bytes_per_second for link in flow.links), default=math.inf))
        return
    capacity: dict[Link, float] = {}
    crossing: dict[Link, dict[Flow, None]] = {}
    for flow in flows:
        for link in flow.links:
            capacity.setdefault(link, link.bytes_per_second)
            crossing.setdefault(link, {})[flow] = None
    unsettled: dict[Flow, None] = dict.fromkeys(flows)
    while unsettled:
        fair = min((capacity[link] / len(group) for link, group in crossing.items() if group), default=math.inf)
        level = min(fair, *(flow.limit_bytes_per_second for flow in unsettled))
        # Whoever cannot rise above the level is settled at it: by its own limit, or by a link that is full then.
        full = [link for link, group in crossing.items() if group and capacity[link] / len(group) <= level]
        settled = dict.fromkeys(flow for flow in unsettled if flow.limit_bytes_per_second <= level)
        for link in full:
            settled.update(crossing[link])
        for flow in settled:
            flow.rate = level
            del unsettled[flow]
            for link in flow.links:
                capacity[link] = max(0.0, capacity[link] - level)
                del crossing[link][flow]
