# SPDX-License-Identifier: Apache-2.0
"""Filters: each says why a host cannot be the destination, or nothing. They read records only and ask no agent.

What only the hypervisor can tell (CPU, machine type, networks, media) is the destination's check, not a filter.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping

from wherry import errors
from wherry.config import default as config_default
from wherry.model import abilities, guest, host, server_group


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What hosts are measured by, as configured."""

    now: datetime.datetime
    service_down_time_seconds: float
    cpu_allocation_ratio: float
    ram_allocation_ratio: float
    reserved_host_memory_mib: int

    @classmethod
    def of(cls, options: config_default.DefaultSection, now: datetime.datetime) -> typing.Self:
        """Give those of a configuration, at a time."""
        return cls(
            now=now,
            service_down_time_seconds=options.service_down_time_seconds,
            cpu_allocation_ratio=options.cpu_allocation_ratio,
            ram_allocation_ratio=options.ram_allocation_ratio,
            reserved_host_memory_mib=options.reserved_host_memory_mb,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What is looked for, and the rules it is measured by."""

    guest: guest.Guest
    #: Host that has it; None for a guest that is to be made.
    source: host.Host | None
    rules: Rules
    #: Where the other servers of its group are; None = it is in none.
    neighbours: server_group.Neighbours | None = None
    #: What the request needs of the drivers; None = not asked.
    ask: abilities.Ask | None = None
    #: Availability zone to which the server is pinned; None = any.
    zone: str | None = None
    #: Names of host and hypervisor that a new server asks for; None = any.
    host: str | None = None
    node: str | None = None


Filter = Callable[[host.Host, Demand], errors.CheckFailed | None]


def up(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """Its agent was heard of lately."""
    if host.is_up(candidate, demand.rules.now, demand.rules.service_down_time_seconds):
        return None
    return errors.DestinationDown(host=candidate.name)


def enabled(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """No operator has disabled it."""
    del demand
    if not candidate.is_disabled:
        return None
    why = f" ({candidate.disabled_reason})" if candidate.disabled_reason else ""
    return errors.DestinationDisabled(host=candidate.name, why=why)


def not_source(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """It is another host than the guest's."""
    if demand.source is None or candidate.name != demand.source.name:
        return None
    return errors.DestinationIsSource(uuid=demand.guest.uuid, host=candidate.name)


def live_migration(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """Its driver can receive a running guest."""
    del demand
    if candidate.description.capabilities.live_migration:
        return None
    return errors.CapabilityMissing(
        driver=candidate.description.driver, host=candidate.name, ability="receive a live migration", instead="Name another host."
    )


def cold_migration(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """Its driver can take in a guest that is off, and make it another size."""
    del demand
    if candidate.description.capabilities.cold_migration:
        return None
    return errors.CapabilityMissing(
        driver=candidate.description.driver, host=candidate.name, ability="receive a guest that is off", instead="Name another host."
    )


def hypervisor_type(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """It runs the same kind of hypervisor, and offers what the guest runs on ("kvm", "qemu")."""
    if demand.source is None:
        return None
    theirs, ours = candidate.description, demand.source.description
    if theirs.hypervisor_type != ours.hypervisor_type:
        return errors.HypervisorTypeMismatch(host=candidate.name, source_type=ours.hypervisor_type, destination_type=theirs.hypervisor_type)
    wanted = demand.guest.hypervisor_type
    if wanted and theirs.supported_types and wanted not in theirs.supported_types:
        return errors.HypervisorTypeMismatch(host=candidate.name, source_type=wanted, destination_type=", ".join(theirs.supported_types))
    return None


def hypervisor_version(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """Its hypervisor is not older than the source's."""
    if demand.source is None:
        return None
    theirs, ours = candidate.description.hypervisor_version, demand.source.description.hypervisor_version
    if theirs >= ours:
        return None
    return errors.HypervisorTooOld(host=candidate.name, source_version=dotted(ours), destination_version=dotted(theirs))


def memory(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """The guest's memory fits beside the servers there and those on their way."""
    total = int(candidate.description.memory_mib * demand.rules.ram_allocation_ratio) - demand.rules.reserved_host_memory_mib
    available = total - candidate.usage.memory_mib
    if demand.guest.memory_mib <= available:
        return None
    return errors.InsufficientMemory(
        uuid=demand.guest.uuid, host=candidate.name, available_mib=available, needed_mib=demand.guest.memory_mib
    )


def vcpus(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """The guest's vCPUs fit, by the overcommit ratio."""
    available = int(candidate.description.vcpus * demand.rules.cpu_allocation_ratio) - candidate.usage.vcpus
    if demand.guest.vcpus <= available:
        return None
    return errors.InsufficientVcpus(uuid=demand.guest.uuid, host=candidate.name, available=available, needed=demand.guest.vcpus)


def in_group(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """The policy of the guest's server group allows it."""
    group = demand.neighbours
    why = group.objection(candidate.name) if group is not None else ""
    if group is None or not why:
        return None
    return errors.ServerGroupForbids(group=group.group, policy=group.policy.value, host=candidate.name, uuid=demand.guest.uuid, why=why)


def in_zone(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """It is in the zone to which the server is pinned."""
    if demand.zone in (None, candidate.zone):
        return None
    return errors.OutsideZone(host=candidate.name, zone=candidate.zone, uuid=demand.guest.uuid, pinned=demand.zone)


def able(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """Its driver has the abilities that the request needs of a destination."""
    if demand.ask is None or demand.source is None:
        return None
    return abilities.refusal_by_destination(demand.ask, demand.source, candidate)


def asked_for(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """It is where a new server is asked to be."""
    names = ((demand.zone, candidate.zone), (demand.host, candidate.name), (demand.node, candidate.description.hypervisor_hostname))
    if all(wanted in (None, is_there) for wanted, is_there in names):
        return None
    return errors.HostNotAskedFor(host=candidate.name, zone=candidate.zone)


def build(candidate: host.Host, demand: Demand) -> errors.CheckFailed | None:
    """Its driver can make guests."""
    del demand
    if candidate.description.capabilities.build:
        return None
    return errors.CapabilityMissing(
        driver=candidate.description.driver, host=candidate.name, ability="make guests", instead="Name another host."
    )


#: By the name that [scheduler] enabled_filters uses.
FILTERS: Mapping[str, Filter] = {
    "up": up,
    "enabled": enabled,
    "not_source": not_source,
    "live_migration": live_migration,
    "hypervisor_type": hypervisor_type,
    "hypervisor_version": hypervisor_version,
    "memory": memory,
    "vcpus": vcpus,
    "server_group": in_group,
    "availability_zone": in_zone,
}

#: Those that mean nothing for a guest that is to be made, and those that only it has.
_OF_MOVES = frozenset({"not_source", "live_migration", "hypervisor_type", "hypervisor_version", "availability_zone"})
_OF_BUILDS: tuple[Filter, ...] = (asked_for, build)
#: What even a host that was named by force must be to build a guest.
FORCED_BUILD: tuple[str, ...] = ("up",)

#: What even a forced destination must meet: Nova's checks of a forced host, and of server groups on the destination.
FORCED: tuple[str, ...] = ("up", "not_source", "live_migration", "hypervisor_type", "hypervisor_version", "memory", "server_group")


#: What no configuration names, since it is always asked where it matters.
_OWN: Mapping[str, Filter] = {"cold_migration": cold_migration}
#: What only a live migration must meet: a guest that is started anew needs no younger hypervisor than it had, but its machine type.
_OF_LIVE = frozenset({"live_migration", "hypervisor_version", "not_source"})


def for_cold(enabled: Iterable[str], *, may_stay: bool) -> tuple[str, ...]:
    """Give the filters of a cold migration or resize, where these are enabled."""
    kept = tuple(name for name in enabled if name not in _OF_LIVE)
    return (*(() if may_stay else ("not_source",)), "cold_migration", *kept)


def refusal(candidate: host.Host, demand: Demand, names: Iterable[str]) -> errors.CheckFailed | None:
    """Give the first reason why this host cannot be the destination, or None."""
    return next(refusals(candidate, demand, names), None)


def refusals(candidate: host.Host, demand: Demand, names: Iterable[str]) -> Iterator[errors.CheckFailed]:
    """Give every reason why this host cannot be the destination.

    What the request needs of its driver comes last and cannot be switched off: it would be promised and not kept.
    """
    if demand.source is None:
        chosen = (*_OF_BUILDS, *(FILTERS[name] for name in names if name not in _OF_MOVES))
    else:
        chosen = (*(FILTERS.get(name) or _OWN[name] for name in names), able)
    for one in chosen:
        reason = one(candidate, demand)
        if reason is not None:
            yield reason


def dotted(version: int) -> str:
    """Write a version number of the form major * 1,000,000 + minor * 1,000 + release as people do."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"
