# SPDX-License-Identifier: Apache-2.0
"""Which tests run, which classes must have run, and which tests are left out, each with the reason.

Must not hide a failure: what Wherry has is never left out, what it has not stands here in words.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

#: What is looked at: all of tempest's tests of the Compute API, and Wherry's own.
PATTERN = r"^(tempest\.api\.compute|wherry\.testing\.tempest_plugin)\."


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A class of which at least one test must have run."""

    #: Within tempest.api.compute, or whole.
    name: str
    #: The newest microversion at which tempest runs it; it is not wanted of a run that begins above.
    last: tuple[int, int] | None = None
    #: Whether the short run has it.
    is_smoke: bool = True


WANTED = (
    Wanted(name="admin.test_availability_zone.AZAdminV2TestJSON"),
    Wanted(name="admin.test_hypervisor.HypervisorAdminTestJSON", last=(2, 87)),
    Wanted(name="admin.test_hypervisor.HypervisorAdminV228Test"),
    Wanted(name="admin.test_hypervisor.HypervisorAdminUnderV252Test", last=(2, 52)),
    Wanted(name="admin.test_hypervisor.HypervisorAdminV253TestBase"),
    Wanted(name="admin.test_hypervisor_negative.HypervisorAdminNegativeTestJSON"),
    Wanted(name="admin.test_hypervisor_negative.HypervisorAdminNegativeUnderV252Test", last=(2, 52)),
    Wanted(name="admin.test_services.ServicesAdminTestJSON"),
    Wanted(name="admin.test_services_negative.ServicesAdminNegativeTestJSON", last=(2, 52)),
    Wanted(name="admin.test_services_negative.ServicesAdminNegativeV253TestJSON"),
    Wanted(name="limits.test_absolute_limits.AbsoluteLimitsTestJSON", last=(2, 56)),
    Wanted(name="servers.test_availability_zone.AZV2TestJSON"),
    Wanted(name="servers.test_server_group.ServerGroupTestJSON", is_smoke=False),
    Wanted(name="servers.test_server_group.ServerGroup264TestJSON"),
    Wanted(name="test_versions.TestVersions"),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_deadlines.LiveMigrationDeadlineTest", is_smoke=False),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_deadlines.NoDeadlineTest", is_smoke=False),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_live_migration_events.LiveMigrationEventsV234Test", is_smoke=False),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_live_migration_events.LiveMigrationEventsV233Test", last=(2, 33), is_smoke=False),
)

#: Pattern of tests within tempest.api.compute -> why they are left out although tempest would run them.
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"admin\.test_aggregates", "host aggregates: Wherry has zones and server groups, and lists no aggregates"),
    (r"admin\.test_hosts", "os-hosts, which ended with 2.43: os-services and os-hypervisors tell the same"),
    (r"admin\.test_instance_usage_audit_log", "usage audit logs: Wherry sends no usage notifications"),
    (r"admin\.test_simple_tenant_usage", "os-simple-tenant-usage: Wherry keeps no accounts of usage"),
    (r"(admin\.)?test_quotas", "quotas: Wherry has none"),
    (r"test_extensions", "/extensions, deprecated: it never changes"),
    (r"(admin\.test_|)keypairs", "key pairs: guests get none"),
    (
        r"(admin\.test_)?security_groups|floating_ips|admin\.test_networks|test_tenant_networks|test_networks",
        "proxies of the network service",
    ),
)

_LEFT_OUT = tuple((re.compile(r"tempest\.api\.compute\." + rf"(?:{pattern})"), reason) for pattern, reason in LEFT_OUT)
_SMOKE = frozenset(wanted.name for wanted in WANTED if wanted.is_smoke)


def why_left_out(name: str) -> str:
    """Give the reason for which a test is left out; empty when it runs."""
    return next((reason for pattern, reason in _LEFT_OUT if pattern.match(name)), "")


def stale(names: Iterable[str]) -> list[str]:
    """Give the patterns that leave nothing out: tempest has no such tests any more."""
    known = list(names)
    return [pattern.pattern for pattern, _ in _LEFT_OUT if not any(pattern.match(name) for name in known)]


def is_smoke(name: str) -> bool:
    """Whether the short run has this test."""
    return name.rpartition(".")[0].removeprefix("tempest.api.compute.") in _SMOKE


def wanted_of(min_microversion: str, *, is_smoke: bool) -> Iterator[str]:
    """Name the classes of which a test must have run."""
    version = tuple(int(part) for part in min_microversion.split("."))
    for wanted in WANTED:
        if (wanted.is_smoke or not is_smoke) and (wanted.last is None or version <= wanted.last):
            yield wanted.name if wanted.name.startswith("wherry.") else f"tempest.api.compute.{wanted.name}"
