# SPDX-License-Identifier: Apache-2.0
"""Each check of a simulated hypervisor says no for its own reason, and a refused guest has changed nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.drivers.simulated import two_hosts
from tests.unit.drivers.simulated.two_hosts import MIB, TwoHosts
from wherry import errors
from wherry.drivers import simulated
from wherry.drivers.simulated import making
from wherry.model import guest, migration

_DIRECTORY = "/var/lib/wherry/instances"


def disk(**fields: Any) -> guest.Disk:
    given: dict[str, Any] = {
        "name": "vda",
        "kind": guest.DiskKind.FILE,
        "source": f"{_DIRECTORY}/g.raw",
        "capacity_bytes": 1000 * MIB,
        "allocation_bytes": 100 * MIB,
        "cache": "none",
    }
    return guest.Disk(**given | fields)


def share_storage(hosts: TwoHosts, **fields: Any) -> None:
    store = simulated.Store("shared", **fields)
    for host in hosts.world.hosts.values():
        host.stores[_DIRECTORY] = store


def use_profile(hosts: TwoHosts, name: str) -> None:
    for host in hosts.world.hosts.values():
        host.profile = simulated.PROFILES[name]


def fill(hosts: TwoHosts) -> None:
    store = hosts.world.hosts["b"].stores[_DIRECTORY]
    store.add("ballast", store.capacity_bytes - 500 * MIB)


#: slug -> (fields of the guest, what is done to the hosts, the request)
CASES: dict[str, tuple[dict[str, Any], Callable[[TwoHosts], object], migration.LiveMigrationRequest]] = {
    "domain_present": (
        {},
        lambda hosts: hosts.world.add_guest("b", "g", uuid="00000000-0000-0000-0000-000000000001"),
        migration.LiveMigrationRequest(),
    ),
    "machine_type_unsupported": ({"machine_type": "pc-q35-99.0"}, lambda hosts: None, migration.LiveMigrationRequest()),
    "cpu_incompatible": ({"cpu_level": 3}, lambda hosts: None, migration.LiveMigrationRequest()),
    "network_missing": (
        {"interfaces": (guest.Interface(kind="bridge", name="br7"),)},
        lambda hosts: None,
        migration.LiveMigrationRequest(),
    ),
    "media_unreadable": (
        {"disks": (disk(device="cdrom", source=f"{_DIRECTORY}/boot.iso", read_only=True),)},
        lambda hosts: None,
        migration.LiveMigrationRequest(),
    ),
    "hypervisor_too_old": (
        {},
        lambda hosts: setattr(hosts.world.hosts["b"], "hypervisor_version", 6_002_000),
        migration.LiveMigrationRequest(),
    ),
    "hypervisor_type_mismatch": (
        {},
        lambda hosts: setattr(hosts.world.hosts["b"], "profile", simulated.PROFILES["vmware"]),
        migration.LiveMigrationRequest(),
    ),
    "passthrough_device": ({"passthrough_devices": ("0000:03:00.0",)}, lambda hosts: None, migration.LiveMigrationRequest()),
    "memory_encrypted": ({"memory_encryption": "sev"}, lambda hosts: None, migration.LiveMigrationRequest()),
    "job_active": ({"active_job": "dump"}, lambda hosts: None, migration.LiveMigrationRequest()),
    "snapshots_present": ({"snapshot_count": 2}, lambda hosts: None, migration.LiveMigrationRequest()),
    "unsafe_disk_cache": (
        {"disks": (disk(cache="writeback"),)},
        lambda hosts: share_storage(hosts, is_coherent=False),
        migration.LiveMigrationRequest(),
    ),
    "storage_shared": ({"disks": (disk(),)}, share_storage, migration.LiveMigrationRequest(block_migration=True)),
    "storage_not_shared": ({"disks": (disk(),)}, lambda hosts: None, migration.LiveMigrationRequest(block_migration=False)),
    "insufficient_space": ({"disks": (disk(),)}, fill, migration.LiveMigrationRequest(disk_over_commit=False)),
    "migration_address_unreachable": ({}, lambda hosts: hosts.hand.cut_link("b"), migration.LiveMigrationRequest()),
    "capability_missing": (
        {"disks": (disk(),), "hypervisor_type": "phyp"},
        lambda hosts: use_profile(hosts, "powervm"),
        migration.LiveMigrationRequest(),
    ),
}


@pytest.mark.parametrize("slug", CASES)
def test_the_check_says_no_and_nothing_is_changed(slug: str) -> None:
    fields, prepare, request = CASES[slug]

    async def body() -> None:
        hosts = TwoHosts()
        prepare(hosts)
        given: dict[str, Any] = {"memory_mib": 100} | fields
        spec = hosts.world.add_guest("a", "g", **given)
        await hosts.open()
        before = {name: {path: dict(store.files) for path, store in host.stores.items()} for name, host in hosts.world.hosts.items()}
        with pytest.raises(errors.CheckFailed) as caught:
            await hosts.check(spec.uuid, request=request)
        assert caught.value.slug == slug
        assert caught.value.remedy
        assert "<" not in caught.value.message.replace("<=", ""), "every field of the message is filled in"
        after = {name: {path: dict(store.files) for path, store in host.stores.items()} for name, host in hosts.world.hosts.items()}
        assert after == before
        assert (await hosts.drivers["a"].observe_guest(spec.uuid)).state is guest.GuestState.RUNNING

    two_hosts.run(body)


@pytest.mark.parametrize(
    ("disk_over_commit", "needed_mib"),
    [(False, 1000), (True, 100)],
    ids=["full size", "what is taken"],
)
def test_space_is_counted_as_the_request_says(disk_over_commit: bool, needed_mib: int) -> None:
    async def body() -> None:
        for free_mib, fits in ((needed_mib, True), (needed_mib - 1, False)):
            hosts = TwoHosts()
            spec = hosts.world.add_guest("a", "g", disks=(disk(),))
            store = hosts.world.hosts["b"].stores[_DIRECTORY]
            store.add("ballast", store.capacity_bytes - free_mib * MIB)
            await hosts.open()
            request = migration.LiveMigrationRequest(disk_over_commit=disk_over_commit)
            if fits:
                assert (await hosts.check(spec.uuid, request=request)).storage is not None
            else:
                with pytest.raises(errors.InsufficientSpace):
                    await hosts.check(spec.uuid, request=request)

    two_hosts.run(body)


def test_a_guest_that_is_off_is_not_sent() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        spec = hosts.world.add_guest("a", "g")
        await hosts.open()
        hosts.hand.crash_guest("a", spec.uuid)
        with pytest.raises(errors.GuestNotRunning):
            await hosts.check(spec.uuid)

    two_hosts.run(body)


@pytest.mark.parametrize(
    ("store_fields", "disk_fields", "is_warned"),
    [({}, {}, False), ({"has_locks": False}, {}, True), ({}, {"shareable": True}, True)],
    ids=["locked", "storage without locks", "shareable disk"],
)
def test_a_disk_without_a_lock_across_hosts_gets_a_warning(
    store_fields: dict[str, Any], disk_fields: dict[str, Any], is_warned: bool
) -> None:
    async def body() -> None:
        hosts = TwoHosts()
        share_storage(hosts, **store_fields)
        spec = hosts.world.add_guest("a", "g", disks=(disk(**disk_fields),))
        await hosts.open()
        plan = await hosts.check(spec.uuid)
        assert plan.storage is not None
        assert bool(plan.storage.warnings) is is_warned

    two_hosts.run(body)


def test_a_full_destination_fails_to_prepare_and_names_nothing() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        spec = hosts.world.add_guest("a", "g", disks=(disk(),))
        await hosts.open()
        plan = await hosts.check(spec.uuid)
        hosts.created.clear()
        fill(hosts)
        with pytest.raises(errors.PreparationFailed, match="are needed"):
            await hosts.drivers["b"].prepare_destination(hosts.task(spec.uuid), plan)
        assert hosts.created == []

    two_hosts.run(body)


def test_a_uuid_that_is_there_under_another_name_is_refused() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        spec = hosts.world.add_guest("a", "g")
        hosts.world.add_guest("b", "another", uuid=spec.uuid)
        await hosts.open()
        with pytest.raises(errors.DomainPresent, match="uuid"):
            await hosts.check(spec.uuid)

    two_hosts.run(body)


def test_a_host_that_was_asked_before_cannot_take_anothers_probes_away() -> None:
    """Found by the simulation (seed 299): a shared disk whose probe was gone looked like one to be copied."""

    async def body() -> None:
        hosts = TwoHosts()
        hosts.add_host("c")
        share_storage(hosts)
        found = hosts.world.add_guest("a", "g", disks=(disk(),))
        await hosts.open()
        (leaving,) = await hosts.drivers["a"].describe_guests([found.uuid])
        task, source, wanted = hosts.task(found.uuid), await hosts.drivers["a"].describe_host(), migration.LiveMigrationRequest()
        former = await hosts.drivers["c"].check_destination(task, leaving, wanted, source)
        facts = await hosts.drivers["b"].check_destination(task, leaving, wanted, source)
        await hosts.drivers["c"].release_check(task, former.probes)
        assert (await hosts.drivers["a"].check_source(task, leaving, wanted, facts)).copied == ()

    two_hosts.run(body)


@pytest.mark.parametrize(("is_shared", "is_elsewhere", "is_kept"), [(False, False, False), (False, True, False), (True, True, True)])
def test_what_was_made_for_a_guest_that_left_goes_also_when_the_guest_is_gone(is_shared: bool, is_elsewhere: bool, is_kept: bool) -> None:
    """Found by the simulation (seed 770): deleted at its new host before the old one was cleaned, it left its file there."""
    hosts, uuid = TwoHosts(), "00000000-0000-0000-0000-000000000770"
    if is_shared:
        share_storage(hosts)
    made = disk(source=f"{_DIRECTORY}/{uuid}.qcow2", format="qcow2")
    here = hosts.world.hosts["a"]
    here.stores[_DIRECTORY].add(f"{uuid}.qcow2", MIB)
    if is_elsewhere:
        hosts.world.add_guest("b", "g", uuid=uuid)
    travels = migration.DiskPlan(disk=made, treatment=migration.Treatment.COPIED)
    plan = migration.Plan(source="a", destination="b", storage=migration.StoragePlan(disks=(travels,)))
    making.remove_left_behind(hosts.world, here, uuid, plan)
    assert here.has_file(made.source) is is_kept
