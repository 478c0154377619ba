# SPDX-License-Identifier: Apache-2.0
"""Filters name the true reason; weighers rank; the choice is the same each time."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from wherry import config, errors
from wherry.conductor.scheduler import filters, select, weighers
from wherry.model import capabilities, guest, host, migration, server_group

_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def _host(name: str, **fields: object) -> host.Host:
    """A host that would do; `fields` are of the record, or of its description or usage."""
    description = {
        "hypervisor_uuid": name,
        "hypervisor_hostname": name,
        "hypervisor_type": "QEMU",
        "hypervisor_version": 7_002_000,
        "vcpus": 8,
        "memory_mib": 16_384,
        "supported_types": ("kvm", "qemu"),
        "capabilities": capabilities.DriverCapabilities(live_migration=True),
    }
    usage: dict[str, object] = {}
    record: dict[str, object] = {"last_seen_at": _NOW}
    for field, value in fields.items():
        home = description if field in {one.name for one in dataclasses.fields(host.HostDescription)} else record
        home = usage if field.startswith("used_") or field.endswith("_migrations") else home
        home[field.removeprefix("used_")] = value
    return host.Host(
        **record,  # type: ignore[arg-type]  # a table of fields, as the test names them
        id=1,
        uuid=name,
        name=name,
        incarnation="1",
        created_at=_NOW,
        description=host.HostDescription(**description),  # type: ignore[arg-type]  # likewise
        usage=host.Usage(**usage),  # type: ignore[arg-type]  # likewise
    )


_RULES = filters.Rules(
    now=_NOW, service_down_time_seconds=60.0, cpu_allocation_ratio=1.0, ram_allocation_ratio=1.0, reserved_host_memory_mib=512
)


def _demand(**fields: object) -> filters.Demand:
    wanted = guest.Guest(uuid="g", name="g", state=guest.GuestState.RUNNING, memory_mib=4096, vcpus=2, hypervisor_type="kvm")
    values: dict[str, object] = {
        "guest": wanted,
        "source": _host("source"),
        "rules": _RULES,
    }
    return filters.Demand(**(values | fields))  # type: ignore[arg-type]  # likewise


_NAMES = config.SchedulerSection().enabled_filters


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"last_seen_at": _NOW - datetime.timedelta(seconds=61)}, errors.DestinationDown),
        ({"is_forced_down": True}, errors.DestinationDown),
        ({"is_disabled": True, "disabled_reason": "new disk"}, errors.DestinationDisabled),
        ({"capabilities": capabilities.NONE}, errors.CapabilityMissing),
        ({"hypervisor_type": "Xen"}, errors.HypervisorTypeMismatch),
        ({"supported_types": ("qemu",)}, errors.HypervisorTypeMismatch),
        ({"hypervisor_version": 7_001_999}, errors.HypervisorTooOld),
        ({"used_memory_mib": 16_384 - 512 - 4096}, None),
        ({"used_memory_mib": 16_384 - 512 - 4095}, errors.InsufficientMemory),
        ({"used_vcpus": 6}, None),
        ({"used_vcpus": 7}, errors.InsufficientVcpus),
    ],
)
def test_each_filter_refuses_for_its_own_reason(fields: dict[str, object], expected: type[errors.Error] | None) -> None:
    """A host that would do is let through; each defect is named by its own slug."""
    reason = filters.refusal(_host("candidate", **fields), _demand(), _NAMES)
    assert (type(reason) if reason else None) is expected


def test_the_source_is_no_destination() -> None:
    """Not even when it is asked for by force."""
    assert isinstance(filters.refusal(_host("source"), _demand(), _NAMES), errors.DestinationIsSource)
    assert isinstance(filters.refusal(_host("source"), _demand(), filters.FORCED), errors.DestinationIsSource)


def test_overcommit_ratios_stretch_the_host() -> None:
    """Twice the memory by ratio is twice the room."""
    full = _host("candidate", used_memory_mib=16_384, used_vcpus=8)
    rules = dataclasses.replace(_RULES, ram_allocation_ratio=2.0, cpu_allocation_ratio=2.0)
    assert filters.refusal(full, _demand(rules=rules), _NAMES) is None


def test_a_forced_host_may_be_disabled_but_not_full() -> None:
    """Nova's rule for forced hosts: the operator's own switch is bypassed, physics is not."""
    assert filters.refusal(_host("candidate", is_disabled=True), _demand(), filters.FORCED) is None
    assert isinstance(filters.refusal(_host("candidate", used_memory_mib=16_000), _demand(), filters.FORCED), errors.InsufficientMemory)


def test_every_configured_filter_exists_and_every_filter_is_on_by_default() -> None:
    """The default list is the whole list."""
    assert set(_NAMES) == set(filters.FILTERS)


def test_the_requested_host_is_refused_with_its_real_cause() -> None:
    """Never a generic "no valid host"."""
    hosts = [_host("source"), _host("full", used_memory_mib=16_000)]
    with pytest.raises(errors.InsufficientMemory):
        select.requested(hosts, migration.LiveMigrationRequest(host="full"), _demand(), _NAMES)
    with pytest.raises(errors.DestinationNotFound):
        select.requested(hosts, migration.LiveMigrationRequest(host="nowhere"), _demand(), _NAMES)


def test_the_best_host_has_most_room_and_fewest_migrations() -> None:
    """Free memory and vCPUs attract, migrations under way repel; equals go by name."""
    section = config.SchedulerSection()
    hosts = [_host("b"), _host("a"), _host("busy", incoming_migrations=2), _host("full", used_memory_mib=8000)]
    assert select.best(hosts, _demand(), section, ()).name == "a"
    assert [one.name for one in weighers.ranked(hosts, select.multipliers(section))][:2] == ["a", "b"]


def test_a_refused_host_is_not_chosen_again_and_is_named_when_none_is_left() -> None:
    """No valid host says for each host why."""
    refused = (migration.RefusedHost(host="a", slug="cpu_incompatible", message="wrong CPU"),)
    hosts = [_host("source"), _host("a"), _host("b", is_disabled=True)]
    with pytest.raises(errors.NoValidHost, match=r"a: wrong CPU.*b: .*disabled"):
        select.best(hosts, _demand(), config.SchedulerSection(), refused)


def test_no_valid_host_stays_short_in_a_large_fleet() -> None:
    """A thousand reasons are counted, not listed."""
    hosts = [_host(f"h{i}", is_disabled=True) for i in range(1000)]
    with pytest.raises(errors.NoValidHost, match="992 more") as caught:
        select.best(hosts, _demand(), config.SchedulerSection(), ())
    assert len(caught.value.message) < 1000


def _neighbours(policy: str, most: int = 1, **on_hosts: int) -> server_group.Neighbours:
    return server_group.Neighbours(group="G", policy=server_group.Policy(policy), max_servers_per_host=most, on_hosts=on_hosts)


@pytest.mark.parametrize(
    ("neighbours", "is_allowed"),
    [
        (None, True),
        (_neighbours("anti-affinity"), True),
        (_neighbours("anti-affinity", elsewhere=1), True),
        (_neighbours("anti-affinity", candidate=1), False),
        (_neighbours("anti-affinity", 2, candidate=1), True),
        (_neighbours("anti-affinity", 2, candidate=2), False),
        (_neighbours("affinity"), True),
        (_neighbours("affinity", elsewhere=1), False),
        (_neighbours("affinity", elsewhere=1, candidate=1), True),
        (_neighbours("soft-anti-affinity", candidate=9), True),
        (_neighbours("soft-affinity", elsewhere=9), True),
    ],
)
@pytest.mark.parametrize("names", [_NAMES, filters.FORCED], ids=["asked", "forced"])
def test_a_server_group_forbids_hosts_by_its_policy(
    neighbours: server_group.Neighbours | None, is_allowed: bool, names: tuple[str, ...]
) -> None:
    """Hard policies hold for forced hosts too; soft ones forbid nothing."""
    reason = filters.refusal(_host("candidate"), _demand(neighbours=neighbours), names)
    assert (reason is None) == is_allowed
    assert reason is None or isinstance(reason, errors.ServerGroupForbids)


@pytest.mark.parametrize(
    ("neighbours", "multiplier", "first"),
    [
        (None, 10.0, "a"),
        (_neighbours("soft-anti-affinity", a=1), 10.0, "b"),
        (_neighbours("soft-anti-affinity", a=1), 0.0, "a"),
        (_neighbours("soft-affinity", b=1), 10.0, "b"),
        (_neighbours("soft-affinity", b=1), 0.0, "a"),
    ],
)
def test_soft_policies_weigh(neighbours: server_group.Neighbours | None, multiplier: float, first: str) -> None:
    """Between equal hosts the group decides; its multipliers can turn that off."""
    section = config.SchedulerSection(soft_affinity_weight_multiplier=multiplier, soft_anti_affinity_weight_multiplier=multiplier)
    assert select.best([_host("a"), _host("b")], _demand(neighbours=neighbours), section, ()).name == first
