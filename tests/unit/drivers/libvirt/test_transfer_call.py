# SPDX-License-Identifier: Apache-2.0
"""Flags and parameters of the migrate call follow plan, options and configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

import libvirt
import pytest

from wherry import config
from wherry.drivers import base
from wherry.drivers.libvirt import capabilities, host, transfer_call
from wherry.model import guest, migration

pytestmark = [pytest.mark.unit]

BASE = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
KEPT = libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
DISK = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source="/i/a.raw")
GUEST = guest.Guest(uuid="u", name="n", state=guest.GuestState.RUNNING, memory_mib=1, vcpus=1)
FACTS = migration.DestinationFacts(host="d", connection_uri="qemu+tcp://d/system", transfer_uri="tcp://10.0.0.2")
OPTIONS = base.TransferOptions(downtime_ms=50)


def _make(
    *,
    treatment: migration.Treatment | None = None,
    moving: guest.Guest = GUEST,
    options: base.TransferOptions = OPTIONS,
    disk: guest.Disk = DISK,
    **section: Any,
) -> transfer_call.Call:
    disks = (migration.DiskPlan(disk=disk, treatment=treatment),) if treatment else ()
    plan = migration.StoragePlan(disks=disks)
    return transfer_call.make(moving, FACTS, plan, options, dataclasses.replace(config.LibvirtSection(), **section))


def test_a_persistent_guest_without_disks() -> None:
    call = _make()
    assert call.flags == BASE | KEPT
    assert call.parameters == {"migrate_uri": "tcp://10.0.0.2", "bandwidth": transfer_call.UNLIMITED_MIB_PER_S}
    assert (call.connection_uri, call.downtime_ms) == ("qemu+tcp://d/system", 50)


def test_a_transient_guest_stays_transient() -> None:
    assert _make(moving=dataclasses.replace(GUEST, is_persistent=False)).flags == BASE


def test_only_storage_proven_shared_is_vouched_for() -> None:
    assert _make(treatment=migration.Treatment.SHARED).flags == BASE | KEPT | libvirt.VIR_MIGRATE_UNSAFE
    block = dataclasses.replace(DISK, kind=guest.DiskKind.BLOCK)
    assert _make(treatment=migration.Treatment.SHARED, disk=block).flags == BASE | KEPT


def test_only_copied_disks_are_listed() -> None:
    call = _make(treatment=migration.Treatment.COPIED)
    assert call.flags == BASE | KEPT | libvirt.VIR_MIGRATE_NON_SHARED_DISK
    assert call.parameters["migrate_disks"] == ["vda"]


def test_post_copy_where_permitted_but_not_for_a_paused_guest_and_never_with_throttling() -> None:
    permitting = dataclasses.replace(OPTIONS, permit_post_copy=True)
    section: dict[str, Any] = {"live_migration_permit_auto_converge": True, "live_migration_postcopy_bandwidth": 9}
    call = _make(options=permitting, **section)
    assert call.permits_post_copy and call.flags == BASE | KEPT | libvirt.VIR_MIGRATE_POSTCOPY
    assert call.parameters["bandwidth.postcopy"] == 9
    paused = _make(options=permitting, moving=dataclasses.replace(GUEST, state=guest.GuestState.PAUSED), **section)
    assert not paused.permits_post_copy and paused.flags & libvirt.VIR_MIGRATE_AUTO_CONVERGE
    assert "bandwidth.postcopy" not in paused.parameters


def test_a_resumption_asks_for_what_the_first_call_asked_for() -> None:
    first = _make(options=dataclasses.replace(OPTIONS, permit_post_copy=True))
    assert not first.is_resuming
    again = transfer_call.resuming(first)
    assert again.is_resuming
    assert again.flags == first.flags | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    assert (again.connection_uri, again.parameters) == (first.connection_uri, first.parameters)


def test_options_of_the_connection() -> None:
    call = _make(
        live_migration_parallel_connections=3,
        live_migration_with_native_tls=True,
        options=dataclasses.replace(OPTIONS, bandwidth_mib_per_s=7),
    )
    assert call.flags == BASE | KEPT | libvirt.VIR_MIGRATE_PARALLEL | libvirt.VIR_MIGRATE_TLS
    assert (call.parameters["parallel.connections"], call.parameters["bandwidth"]) == (3, 7)
    assert _make(live_migration_tunnelled=True).flags == BASE | KEPT | libvirt.VIR_MIGRATE_TUNNELLED


@pytest.mark.parametrize(
    ("options", "address", "connection", "transfer"),
    [
        ({}, "h2", "qemu+tcp://h2/system", "tcp://h2"),
        ({"live_migration_scheme": "tls"}, "fd00::2", "qemu+tls://[fd00::2]/system", "tcp://[fd00::2]"),
        ({"live_migration_uri": "qemu+ssh://root@%s/system"}, "h2", "qemu+ssh://root@h2/system", "tcp://h2"),
        ({"live_migration_tunnelled": True}, "h2", "qemu+tcp://h2/system", ""),
    ],
)
def test_where_to_connect_and_send_follows_the_options(options: dict[str, Any], address: str, connection: str, transfer: str) -> None:
    section = dataclasses.replace(config.LibvirtSection(), **options)
    assert host.connection_uri(section, address) == connection
    assert host.transfer_uri(section, address) == transfer
    assert host.transfer_uri(section, "") == ""


def test_flags_of_the_driver_follow_versions_and_options() -> None:
    section = config.LibvirtSection()
    assert capabilities.of_driver(section, 7_002_000, 9_000_000).force_complete_by_post_copy
    assert not capabilities.of_driver(section, 2_004_000, 9_000_000).force_complete_by_post_copy
    assert capabilities.of_driver(section, 7_002_000, 8_005_000).post_copy_recovery
    assert not capabilities.of_driver(section, 7_002_000, 8_004_000).post_copy_recovery
    parallel = dataclasses.replace(section, live_migration_parallel_connections=2)
    assert not capabilities.of_driver(parallel, 10_000_000, 9_000_000).force_complete_by_post_copy
    assert capabilities.of_driver(parallel, 10_001_000, 9_000_000).force_complete_by_post_copy
    tunnelled = capabilities.of_driver(dataclasses.replace(section, live_migration_tunnelled=True), 7_002_000, 9_000_000)
    assert not tunnelled.storage_copy and not tunnelled.force_complete_by_post_copy
