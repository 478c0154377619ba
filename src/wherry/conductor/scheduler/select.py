# SPDX-License-Identifier: Apache-2.0
"""Choose a destination from the records of all hosts, or say why none fits."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wherry import config, errors
from wherry.conductor.scheduler import filters, weighers
from wherry.model import host, migration


def multipliers(section: config.SchedulerSection) -> weighers.Multipliers:
    """Give the weights that the configuration names."""
    return weighers.Multipliers(
        ram=section.ram_weight_multiplier,
        cpu=section.cpu_weight_multiplier,
        migrations=section.migrations_weight_multiplier,
        soft_affinity=section.soft_affinity_weight_multiplier,
        soft_anti_affinity=section.soft_anti_affinity_weight_multiplier,
    )


def requested(
    candidates: Sequence[host.Host], request: migration.LiveMigrationRequest, demand: filters.Demand, enabled: Sequence[str]
) -> host.Host:
    """Give the host that the request names.

    :raises CheckFailed: why it cannot be the destination: the real cause, not a generic one.
    """
    named = next((candidate for candidate in candidates if candidate.name == request.host), None)
    if named is None:
        raise errors.DestinationNotFound(host=request.host)
    reason = filters.refusal(named, demand, filters.FORCED if request.force else enabled)
    if reason is not None:
        raise reason
    return named


def best(
    candidates: Sequence[host.Host],
    demand: filters.Demand,
    section: config.SchedulerSection,
    refused: Collection[migration.RefusedHost],
    *,
    names: Collection[str] | None = None,
    may_stay: bool = False,
) -> host.Host:
    """Give the heaviest host that passes every filter and has not said no.

    :param names: filters to use in place of the enabled ones.
    :param may_stay: whether the guest's own host is one of them.
    :raises NoValidHost: with the reason of each host, so that nobody has to look for it in logs.
    """
    tried = {one.host: one.message for one in refused}
    reasons: list[str] = []
    fitting: list[host.Host] = []
    for candidate in candidates:
        if demand.source is not None and candidate.name == demand.source.name and not may_stay:
            continue
        if candidate.name in tried:
            reasons.append(f"{candidate.name}: {tried[candidate.name]}")
            continue
        reason = filters.refusal(candidate, demand, section.enabled_filters if names is None else names)
        if reason is None:
            fitting.append(candidate)
        else:
            reasons.append(f"{candidate.name}: {reason.message}")
    if not fitting:
        raise errors.NoValidHost(detail=_in_short(reasons))
    return weighers.ranked(fitting, multipliers(section), demand.neighbours)[0]


def _in_short(reasons: list[str], most: int = 8) -> str:
    """Name the first few reasons and count the rest: a fleet has thousands of hosts, an event has one line."""
    if not reasons:
        return "There is no other host."
    rest = len(reasons) - most
    return " ".join(reasons[:most]) + (f" … and {rest} more hosts." if rest > 0 else "")
