# SPDX-License-Identifier: Apache-2.0
"""Each refusal of the libvirt driver's checks, provoked on real hosts, leaves nothing behind."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.lab import libvirt_harness
from wherry import config, errors
from wherry.drivers import base, registry
from wherry.drivers.libvirt import reachability
from wherry.model import guest, migration
from wherry.testing import driver_contract
from wherry.testing import lab as labs

pytestmark = [pytest.mark.lab]

PRIVATE = "/var/lib/libvirt/images"


@pytest.fixture
async def harness(lab: labs.Lab) -> AsyncIterator[libvirt_harness.LibvirtHarness]:
    async with libvirt_harness.opened(lab) as bound:
        yield bound


def _move(harness: libvirt_harness.LibvirtHarness, made: labs.Guest, **request: Any) -> driver_contract.Move:
    return driver_contract.Move(harness, made.uuid, migration.LiveMigrationRequest(**request))


def _run(host: labs.Host, *argv: str) -> None:
    done = host.exec(*argv)
    assert done.returncode == 0, done.stderr


async def _check_destination(
    harness: libvirt_harness.LibvirtHarness, move: driver_contract.Move, **changes: Any
) -> migration.DestinationFacts:
    """Check with a guest that differs from the real one in some fields."""
    wanted = dataclasses.replace(await move.leaving(), **changes)
    source = await harness.source_driver.describe_host()
    return await harness.destination_driver.check_destination(move.destination_task, wanted, move.request, source)


# ------------------------------------------------------------------ destination


async def test_a_leftover_definition_with_the_same_uuid_or_name_is_in_the_way(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("twice", persistent=True)
    text = lab.host("h1").virsh("dumpxml", "twice", "--inactive")
    destination = lab.host("h2")
    for change, attribute, value in (
        (("<name>twice</name>", "<name>other</name>"), "uuid", made.uuid),
        ((f"<uuid>{made.uuid}</uuid>", ""), "name", "twice"),
    ):
        destination.virsh("define", "/dev/stdin", stdin=text.replace(*change))
        name = "other" if attribute == "uuid" else "twice"
        try:
            with pytest.raises(errors.DomainPresent) as refusal:
                await _move(harness, made).check()
            assert refusal.value.fields == {"host": "h2", "attribute": attribute, "value": value}
        finally:
            destination.virsh("undefine", name)


async def test_an_unknown_machine_type_a_missing_emulator_and_an_incompatible_cpu_are_told_apart(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    move = _move(harness, make_guest("machine"))
    text = (await move.leaving()).definition
    machine = (await move.leaving()).machine_type
    with pytest.raises(errors.MachineTypeUnsupported) as refusal:
        await _check_destination(harness, move, definition=text.replace(machine, "pc-i440fx-99.0"))
    assert refusal.value.fields["machine_type"] == "pc-i440fx-99.0"
    with pytest.raises(errors.MediaUnreadable):
        await _check_destination(harness, move, definition=text.replace("/usr/bin/qemu-system-x86_64", "/usr/bin/qemu-nowhere"))
    if lab.accelerator != "kvm":
        return  # an emulated CPU runs anywhere
    # No processor has both vendors' virtualization.
    both = "".join(f"<feature policy='require' name='{name}'/>" for name in ("vmx", "svm"))
    with pytest.raises(errors.CpuIncompatible):
        await _check_destination(harness, move, definition=text.replace("</cpu>", f"{both}</cpu>"))


async def test_huge_pages_that_the_destination_has_too_few_of_are_counted(
    harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest
) -> None:
    """Of a size that its kernel does not have, of one that nobody reserved, of too few; ordinary pages stand for reserved ones."""
    move = _move(harness, make_guest("pages", memory_mib=128))
    text = (await move.leaving()).definition

    def paged(*sizes_kib: int) -> str:
        pages = "".join(f"<page size='{size}' unit='KiB'/>" for size in sizes_kib)
        return text.replace("<vcpu", f"<memoryBacking><hugepages>{pages}</hugepages></memoryBacking><vcpu", 1)

    for size, memory_mib in ((64, 128), (1 << 20, 128), (4, 1 << 30)):
        with pytest.raises(errors.HugePagesMissing) as refusal:
            await _check_destination(harness, move, definition=paged(size), memory_mib=memory_mib)
        assert (refusal.value.fields["page_kib"], refusal.value.fields["needed_mib"]) == (size, memory_mib)
        assert refusal.value.remedy == f"Reserve pages of {size} KiB on h2, or name another host."
    facts = await _check_destination(harness, move, definition=paged(4))
    await move.release(facts)


async def test_a_bridge_or_network_that_is_not_there_is_named(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    _run(lab.host("h1"), "ip", "link", "add", "only1", "type", "bridge")
    try:
        made = make_guest("bridged", bridge="only1")
        with pytest.raises(errors.NetworkMissing) as refusal:
            await _move(harness, made).check()
        assert refusal.value.fields == {"host": "h2", "kind": "bridge", "name": "only1"}
        made.destroy()
    finally:
        _run(lab.host("h1"), "ip", "link", "del", "only1")
    move = _move(harness, make_guest("networked", bridge="lab0"))
    with pytest.raises(errors.NetworkMissing) as refusal:
        await _check_destination(harness, move, interfaces=(guest.Interface(kind="network", name="nowhere"),))
    assert refusal.value.fields["kind"] == "network"


async def test_media_and_kernels_that_the_destination_does_not_see_are_named(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    _run(lab.host("h1"), "truncate", "-s", "1M", f"{PRIVATE}/disc.iso")
    drive = f"<disk type='file' device='cdrom'><source file='{PRIVATE}/disc.iso'/><target dev='sda' bus='sata'/></disk>"
    medium = f"<controller type='sata'/>{drive}"
    move = _move(harness, make_guest("media", extra_devices=medium))
    with pytest.raises(errors.MediaUnreadable) as refusal:
        await move.check()
    assert refusal.value.fields == {"host": "h2", "path": f"{PRIVATE}/disc.iso"}
    _run(lab.host("h2"), "truncate", "-s", "1M", f"{PRIVATE}/disc.iso")
    plan = await move.check()
    assert plan.storage and [disk.treatment for disk in plan.storage.disks] == [migration.Treatment.NONE]
    text = (await move.leaving()).definition
    with pytest.raises(errors.MediaUnreadable):
        await _check_destination(harness, move, definition=text.replace("/usr/share/qemu/qboot.rom", "/usr/share/qemu/none.rom"))
    for host in ("h1", "h2"):
        _run(lab.host(host), "rm", f"{PRIVATE}/disc.iso")


async def test_the_image_below_a_shared_overlay_must_be_readable_there(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    overlay = lab.shared_directory / "overlay.qcow2"
    _run(lab.host("h1"), "truncate", "-s", "16M", f"{PRIVATE}/below.raw")
    _run(lab.host("h1"), "qemu-img", "create", "-f", "qcow2", "-b", f"{PRIVATE}/below.raw", "-F", "raw", str(overlay))
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='{overlay}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    try:
        with pytest.raises(errors.MediaUnreadable) as refusal:
            await _move(harness, make_guest("overlaid", extra_devices=disk)).check()
        assert refusal.value.fields["path"] == f"{PRIVATE}/below.raw"
        assert not [path for path in lab.shared_directory.iterdir() if "probe" in path.name]
    finally:
        overlay.unlink()
        _run(lab.host("h1"), "rm", f"{PRIVATE}/below.raw")


# ------------------------------------------------------------------------ space


async def test_a_copy_that_cannot_fit_is_refused_by_what_it_takes_or_by_its_full_size(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    small = f"{PRIVATE}/small"
    for host in ("h1", "h2"):
        _run(lab.host(host), "mkdir", small)
    _run(lab.host("h2"), "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small)
    _run(lab.host("h1"), "fallocate", "-l", "8M", f"{small}/full.raw")
    _run(lab.host("h1"), "truncate", "-s", "8M", f"{small}/sparse.raw")
    disk = (
        "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    try:
        full = make_guest("full", extra_devices=disk.format(f"{small}/full.raw"))
        with pytest.raises(errors.InsufficientSpace) as refusal:
            await _move(harness, full).check()
        assert refusal.value.fields["path"] == small
        sparse = make_guest("sparse", extra_devices=disk.format(f"{small}/sparse.raw"))
        plan = await _move(harness, sparse, block_migration=True, disk_over_commit=True).check()
        assert plan.storage and plan.storage.is_block_migration
        with pytest.raises(errors.InsufficientSpace):
            await _move(harness, sparse, block_migration=True, disk_over_commit=False).check()
        full.destroy()
        sparse.destroy()
    finally:
        _run(lab.host("h2"), "umount", small)
        for host in ("h1", "h2"):
            _run(lab.host(host), "rm", "-r", small)


async def test_a_file_in_the_way_of_a_copy_is_kept_and_named(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("inway", disk="private", disk_mib=8)
    other = lab.host("h2").private_images / "inway.raw"
    other.write_bytes(b"precious")
    move = _move(harness, made)
    with pytest.raises(errors.DestinationDiskExists) as refusal:
        await move.check()
    assert refusal.value.fields["path"] == f"{PRIVATE}/inway.raw"
    other.unlink()
    plan = await move.check()
    # It comes after the checks: the preparation refuses too.
    other.write_bytes(b"precious")
    with pytest.raises(errors.PreparationFailed):
        await harness.destination_driver.prepare_destination(move.destination_task, plan)
    await move.roll_back()
    assert other.read_bytes() == b"precious"


# ----------------------------------------------------------------------- source


async def test_a_host_directory_snapshots_and_a_cache_that_ignores_flushes_are_refused(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    shared = "<filesystem type='mount' accessmode='passthrough'><source dir='/srv'/><target dir='srv'/></filesystem>"
    with pytest.raises(errors.PassthroughDevice) as passed_through:
        await _move(harness, make_guest("directory", extra_devices=shared)).check()
    assert passed_through.value.fields["device"] == "host directory /srv"
    snapped = make_guest("snapped", disk="shared", disk_format="qcow2", disk_mib=8, persistent=True)
    lab.host("h1").virsh("snapshot-create-as", "snapped", "first")
    with pytest.raises(errors.SnapshotsPresent) as snapshots:
        await _move(harness, snapped).check()
    assert snapshots.value.fields["count"] == 1
    lab.host("h1").virsh("snapshot-delete", "snapped", "first")
    with pytest.raises(errors.UnsafeDiskCache) as cache:
        await _move(harness, make_guest("careless", disk="shared", disk_mib=8, disk_cache="unsafe")).check()
    assert cache.value.fields == {"disk": "vda", "cache": "unsafe"}
    # Kept from the destination's page cache by QEMU itself, so not refused.
    careful = await _move(harness, make_guest("careful", disk="shared", disk_mib=8, disk_cache="writeback")).check()
    assert careful.storage and not careful.storage.is_block_migration


async def test_another_job_of_the_guest_is_named(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("busy", payload="dirty", rate_mib_per_s=30)
    first = _move(harness, made)
    await first.check_prepare_start(first.slowly())
    second = _move(harness, made)
    leaving = await second.leaving()
    assert leaving.active_job == "migration out"
    with pytest.raises(errors.JobActive) as refusal:
        await harness.source_driver.check_source(second.source_task, leaving, second.request, _facts(first))
    assert refusal.value.fields == {"job": "migration out", "host": "h1"}
    await harness.source_driver.abort_transfer(made.uuid)
    await first.wait_ended()


def _facts(move: driver_contract.Move) -> migration.DestinationFacts:
    assert move.plan.facts is not None
    return move.plan.facts


async def test_a_tunnel_copies_no_disk_and_an_unknown_format_is_not_made(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    move = _move(harness, make_guest("tunnelled", disk="private", disk_mib=8))
    facts = await move.check_destination()
    section = config.LibvirtSection(live_migration_tunnelled=True)
    tunnelled = registry.load("libvirt")(harness.source, section, harness.clock)
    await tunnelled.open()
    assert not (await tunnelled.describe_host()).capabilities.storage_copy
    with pytest.raises(errors.CapabilityMissing):
        await tunnelled.check_source(move.source_task, await move.leaving(), move.request, facts)
    await tunnelled.close()
    leaving = await move.leaving()
    strange = dataclasses.replace(leaving, disks=(dataclasses.replace(leaving.disks[0], format="vmdk"),))
    with pytest.raises(errors.CapabilityMissing):
        await harness.source_driver.check_source(move.source_task, strange, move.request, facts)
    await move.release(facts)


async def test_a_copied_disk_and_a_shareable_one_are_warned_of(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    copied = await _move(harness, make_guest("copied", disk="private", disk_mib=8)).check()
    assert copied.storage and "vda (copied)" in copied.storage.warnings[0]
    _run(lab.host("h1"), "truncate", "-s", "8M", str(lab.shared_directory / "cluster.raw"))
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{lab.shared_directory}/cluster.raw'/>"
        "<target dev='vda' bus='virtio'/><shareable/></disk>"
    )
    made = make_guest("clustered", extra_devices=disk)
    shareable = await _move(harness, made).check()
    assert shareable.storage and "vda (shareable)" in shareable.storage.warnings[0]
    plain = await _move(harness, make_guest("plain", disk="shared", disk_mib=8)).check()
    assert plain.storage and plain.storage.warnings == ()
    made.destroy()
    (lab.shared_directory / "cluster.raw").unlink()


# ----------------------------------------------------------------- reachability


async def test_a_destination_that_the_source_cannot_reach_is_found_before_anything_is_touched(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("lonely", persistent=True)
    move = _move(harness, made)
    facts = await move.check_destination()
    signals: list[base.Signal] = []
    stop = harness.source_driver.subscribe(signals.append)
    before = await harness.snapshot(harness.source)
    await move.check_source(facts)
    assert [signal for signal in signals if signal.instance_uuid == made.uuid] == [], "the rehearsal is no event of the guest's"
    refused = dataclasses.replace(facts, connection_uri=facts.connection_uri.replace("/system", ":1/system"))
    with pytest.raises(errors.MigrationAddressUnreachable):
        await move.check_source(refused)
    assert await harness.snapshot(harness.source) == before
    # Answers from here, but not from the source: only the source's own libvirtd finds that out.
    lab.host("h2").silence_libvirtd(lab.host("h1"))
    assert (await harness.destination_driver.describe_host()).hypervisor_uuid
    with pytest.raises(errors.MigrationAddressUnreachable) as refusal:
        await move.check_source(facts)
    assert "within" in str(refusal.value.fields["detail"])
    lab.host("h2").unsilence_libvirtd()
    # The attempt holds the guest until the daemon's own connection attempt ends; the guest itself runs.
    assert (await harness.source_driver.observe_guest(made.uuid)).state is guest.GuestState.RUNNING
    await harness.wait_for(move.leaving, lambda found: not found.active_job, "the attempt has ended")
    await move.check_source(facts)
    stop()


async def test_an_agent_on_the_source_itself_tries_the_addresses_first() -> None:
    """Where the agent shares the source's network, a listener that is missing is found without libvirt."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await reachability.try_addresses(f"qemu+tcp://127.0.0.1:{port}/system", "tcp://127.0.0.1:1", 1.0) == ""
    server.close()
    await server.wait_closed()
    assert "127.0.0.1" in await reachability.try_addresses(f"qemu+tcp://127.0.0.1:{port}/system", "", 1.0)
    assert reachability.is_local("qemu:///system") and not reachability.is_local("qemu+tcp://h1/system")
