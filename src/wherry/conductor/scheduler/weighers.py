# SPDX-License-Identifier: Apache-2.0
"""Weighers: each gives a host a number; normalised, multiplied and added, they rank the hosts that passed the filters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from wherry.model import host, server_group

Weigher = Callable[[host.Host], float]


def free_memory(candidate: host.Host) -> float:
    """MiB that no server and no migration on its way takes."""
    return float(candidate.description.memory_mib - candidate.usage.memory_mib)


def free_vcpus(candidate: host.Host) -> float:
    """Virtual CPUs that no server and no migration on its way takes."""
    return float(candidate.description.vcpus - candidate.usage.vcpus)


def migrations(candidate: host.Host) -> float:
    """Migrations that it takes part in."""
    return float(candidate.usage.incoming_migrations + candidate.usage.outgoing_migrations)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Multipliers:
    """How much each weigher counts, as in [scheduler]."""

    ram: float
    cpu: float
    migrations: float
    soft_affinity: float
    soft_anti_affinity: float


def ranked(candidates: Sequence[host.Host], multipliers: Multipliers, neighbours: server_group.Neighbours | None = None) -> list[host.Host]:
    """Sort by total weight, heaviest first; equal ones by name, so that the choice is the same each time."""
    totals = dict.fromkeys((candidate.name for candidate in candidates), 0.0)
    for weigher, multiplier in (
        (free_memory, multipliers.ram),
        (free_vcpus, multipliers.cpu),
        (migrations, multipliers.migrations),
        *_by_group(neighbours, multipliers),
    ):
        for name, weight in _normalised(candidates, weigher).items():
            totals[name] += multiplier * weight
    return sorted(candidates, key=lambda candidate: (-totals[candidate.name], candidate.name))


def _by_group(neighbours: server_group.Neighbours | None, multipliers: Multipliers) -> list[tuple[Weigher, float]]:
    if neighbours is None:
        return []
    is_together = neighbours.policy is server_group.Policy.SOFT_AFFINITY
    multiplier = multipliers.soft_affinity if is_together else multipliers.soft_anti_affinity
    return [(lambda candidate: neighbours.liking(candidate.name), multiplier)]


def _normalised(candidates: Sequence[host.Host], weigher: Weigher) -> dict[str, float]:
    """Map each host's number to 0..1 between the smallest and the largest, as Nova does, so that units do not matter."""
    weights = {candidate.name: weigher(candidate) for candidate in candidates}
    low, high = min(weights.values(), default=0.0), max(weights.values(), default=0.0)
    span = high - low
    return {name: (weight - low) / span if span else 0.0 for name, weight in weights.items()}
