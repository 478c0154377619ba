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


_COMPUTE = "tempest.api.compute."


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
    Wanted(name="admin.test_delete_server.DeleteServersAdminTestJSON", is_smoke=False),
    Wanted(name="admin.test_live_migration.LiveMigrationTest", last=(2, 24)),
    Wanted(name="admin.test_live_migration.LiveMigrationWithoutHostTest", last=(2, 24), is_smoke=False),
    Wanted(name="admin.test_live_migration.LiveAutoBlockMigrationV225Test"),
    Wanted(name="admin.test_live_migration.LiveMigrationManagerWorkflowTest"),
    Wanted(name="admin.test_live_migration_negative.LiveMigrationNegativeTest"),
    Wanted(name="admin.test_migrations.MigrationsAdminTest"),
    Wanted(name="admin.test_servers.ServersAdminTestJSON", is_smoke=False),
    Wanted(name="admin.test_servers_negative.ServersAdminNegativeTestJSON"),
    Wanted(name="admin.test_servers_on_multinodes.ServersOnMultiNodesTest", is_smoke=False),
    Wanted(name="admin.test_availability_zone.AZAdminV2TestJSON"),
    Wanted(name="admin.test_flavors.FlavorsAdminTestJSON"),
    Wanted(name="admin.test_flavors_extra_specs.FlavorsExtraSpecsTestJSON"),
    Wanted(name="admin.test_flavors_extra_specs_negative.FlavorsExtraSpecsNegativeTestJSON"),
    Wanted(name="admin.test_flavors_microversions.FlavorsV255TestJSON"),
    Wanted(name="admin.test_flavors_microversions.FlavorsV261TestJSON"),
    Wanted(name="admin.test_hypervisor.HypervisorAdminTestJSON", last=(2, 87)),
    Wanted(name="admin.test_hypervisor.HypervisorAdminV228Test", last=(2, 87)),
    Wanted(name="admin.test_hypervisor.HypervisorAdminUnderV252Test", last=(2, 52)),
    Wanted(name="admin.test_hypervisor.HypervisorAdminV253TestBase", last=(2, 87)),
    Wanted(name="admin.test_hypervisor_negative.HypervisorAdminNegativeTestJSON"),
    Wanted(name="admin.test_hypervisor_negative.HypervisorAdminNegativeUnderV252Test", last=(2, 52)),
    Wanted(name="admin.test_services.ServicesAdminTestJSON"),
    Wanted(name="admin.test_services_negative.ServicesAdminNegativeTestJSON", last=(2, 52)),
    Wanted(name="admin.test_services_negative.ServicesAdminNegativeV253TestJSON"),
    Wanted(name="flavors.test_flavors.FlavorsV2TestJSON"),
    Wanted(name="limits.test_absolute_limits.AbsoluteLimitsTestJSON", last=(2, 56)),
    Wanted(name="servers.test_availability_zone.AZV2TestJSON"),
    Wanted(name="servers.test_server_group.ServerGroupTestJSON"),
    Wanted(name="servers.test_server_group.ServerGroup264TestJSON"),
    Wanted(name="servers.test_create_server.ServersTestJSON", is_smoke=False),
    Wanted(name="servers.test_delete_server.DeleteServersTestJSON", is_smoke=False),
    Wanted(name="servers.test_disk_config.ServerDiskConfigTestJSON", is_smoke=False),
    Wanted(name="servers.test_instance_actions.InstanceActionsTestJSON"),
    Wanted(name="servers.test_instance_actions.InstanceActionsV221TestJSON"),
    Wanted(name="servers.test_instance_actions_negative.InstanceActionsNegativeTestJSON"),
    Wanted(name="servers.test_list_server_filters.ListServerFiltersTestJSON", is_smoke=False),
    Wanted(name="servers.test_list_servers_negative.ListServersNegativeTestJSON", is_smoke=False),
    Wanted(name="servers.test_server_actions.ServerActionsTestJSON", is_smoke=False),
    Wanted(name="servers.test_server_actions.ServerActionsTestOtherB", is_smoke=False),
    Wanted(name="servers.test_server_metadata.ServerMetadataTestJSON", is_smoke=False),
    Wanted(name="servers.test_server_metadata_negative.ServerMetadataNegativeTestJSON", is_smoke=False),
    Wanted(name="servers.test_server_tags.ServerTagsTestJSON", last=(2, 99), is_smoke=False),
    Wanted(name="servers.test_servers.ServersTestJSON", is_smoke=False),
    Wanted(name="servers.test_servers.ServerShowV247Test"),
    Wanted(name="servers.test_servers.ServersUpdatePinnedAZ2104Test", is_smoke=False),
    Wanted(name="servers.test_servers_negative.ServersNegativeTestJSON", is_smoke=False),
    Wanted(name="servers.test_servers_negative.ServersNegativeTestMultiTenantJSON", is_smoke=False),
    Wanted(name="test_versions.TestVersions"),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_deadlines.LiveMigrationDeadlineTest"),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_deadlines.NoDeadlineTest"),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_live_migration_events.LiveMigrationEventsV234Test"),
    Wanted(name="wherry.testing.tempest_plugin.tests.test_live_migration_events.LiveMigrationEventsV233Test", last=(2, 33)),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Tests that tempest would run, and do not."""

    #: Regular expression for tests within tempest.api.compute, from their beginning.
    pattern: str
    reason: str
    #: The first version whose runs leave them out.
    first: tuple[int, int] = (2, 1)
    #: The only hosts on which they are left out; empty: on all.
    site: str = ""

    def matches(self, name: str) -> bool:
        """Whether it is about this test."""
        return name.startswith(_COMPUTE) and re.match(self.pattern, name.removeprefix(_COMPUTE)) is not None


_NO_NETWORKS = "addresses and networks: Wherry knows of none"
_NAMES_NO_NETWORK = "without a tenant network tempest names none there, which Nova demands from 2.37 on"
_NO_SUCH_DRIVER = "tempest's schema names the drivers that there may be, and `simulated` is none of them"
_FORGOTTEN_TAGS = "tempest's schemas of 2.100 forget those of tags, and its tests break over that"
_NO_SCHEMA = "tempest's schemas of hypervisors end with 2.53: they take uptime, which Nova shows from 2.88 on, for an error"
_ENDED = "what ended with 2.87: tempest asks for it at every version"

LEFT_OUT = (
    LeftOut(pattern=r"admin\.test_aggregates", reason="host aggregates: Wherry has zones and server groups, and lists no aggregates"),
    LeftOut(pattern=r"admin\.test_hosts", reason="os-hosts, which ended with 2.43: os-services and os-hypervisors tell the same"),
    LeftOut(pattern=r"admin\.test_instance_usage_audit_log", reason="usage audit logs: Wherry sends no usage notifications"),
    LeftOut(pattern=r"admin\.test_simple_tenant_usage", reason="os-simple-tenant-usage: Wherry keeps no accounts of usage"),
    LeftOut(pattern=r"(admin\.)?test_quotas", reason="quotas: Wherry has none"),
    LeftOut(pattern=r"test_extensions", reason="/extensions, deprecated: it never changes"),
    LeftOut(pattern=r"(admin\.test_)?keypairs", reason="key pairs: guests get none"),
    LeftOut(
        pattern=r"(admin\.test_)?security_groups|floating_ips|(admin\.)?test_(tenant_)?networks",
        reason="proxies of the network service, which end with 2.36",
    ),
    LeftOut(pattern=r".*rebuild", reason="rebuild: a server keeps its image"),
    LeftOut(pattern=r".*\.UnshelveToHostMultiNodesTest", reason="shelve: Wherry keeps no servers without a host"),
    LeftOut(
        pattern=r"images\.test_(image_metadata\.|list_image_filters\.)",
        reason="proxies of the image service that write",
    ),
    LeftOut(pattern=r".*\.test_metadata_items_limit", reason="quotas: Wherry has none"),
    LeftOut(pattern=r".*\.test_remove_server_all_security_groups", reason=_NO_NETWORKS),
    LeftOut(pattern=r".*\.MultipleCreateTestJSON", reason=_NAMES_NO_NETWORK, first=(2, 37)),
    LeftOut(pattern=r".*\.ServerDiagnosticsV248Test", reason=_NO_SUCH_DRIVER, site="simulated"),
    LeftOut(pattern=r"servers\.test_server_tags", reason=_FORGOTTEN_TAGS, first=(2, 100)),
    LeftOut(pattern=r".*\.test_restore_", reason="restore: a deleted server is gone"),
    LeftOut(pattern=r".*\.test_inject_network_info|servers\.test_(create_server_multi_nic|server_addresses\.)", reason=_NO_NETWORKS),
    LeftOut(pattern=r".*\.test_create_specify_keypair", reason="key pairs: guests get none"),
    LeftOut(pattern=r".*\.test_resize_server_using_overlimit", reason="quotas: Wherry has none"),
    LeftOut(pattern=r"servers\.test_server_password", reason="os-server-password: guests are given none"),
    LeftOut(pattern=r"admin\.test_flavors_access", reason="access lists of flavors: one that is not public is the administrators'"),
    LeftOut(pattern=r".*\.FlavorsV2NegativeTest\.test_boot_with_low_ram", reason="makes an image with the image service"),
    LeftOut(pattern=r".*\.HypervisorAdmin(TestJSON\.test_get_.*(details|uptime)|V228Test|V253TestBase)", reason=_NO_SCHEMA, first=(2, 88)),
    LeftOut(pattern=r".*\.HypervisorAdmin(Negative)?TestJSON\..*_stats", reason=_ENDED, first=(2, 88)),
    LeftOut(pattern=r".*\.HypervisorAdminNegativeTestJSON\..*_uptime", reason=_ENDED, first=(2, 88)),
)

_SMOKE = frozenset(wanted.name for wanted in WANTED if wanted.is_smoke)


def why_left_out(name: str, min_microversion: str, site: str) -> str:
    """Give the reason for which a run on these hosts that begins at this version leaves a test out; empty when it runs."""
    version = _parsed(min_microversion)
    held = (one for one in LEFT_OUT if one.first <= version and one.site in ("", site))
    return next((one.reason for one in held if one.matches(name)), "")


def stale(names: Iterable[str]) -> list[str]:
    """Give the patterns that leave nothing out: tempest has no such tests any more."""
    known = list(names)
    return [one.pattern for one in LEFT_OUT if not any(one.matches(name) for name in known)]


def is_smoke(name: str) -> bool:
    """Whether the short run has this test."""
    return name.rpartition(".")[0].removeprefix(_COMPUTE) in _SMOKE


def wanted_of(min_microversion: str, *, is_smoke: bool) -> Iterator[str]:
    """Name the classes of which a test must have run."""
    version = _parsed(min_microversion)
    for wanted in WANTED:
        if (wanted.is_smoke or not is_smoke) and (wanted.last is None or version <= wanted.last):
            yield wanted.name if wanted.name.startswith("wherry.") else f"{_COMPUTE}{wanted.name}"


def _parsed(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
