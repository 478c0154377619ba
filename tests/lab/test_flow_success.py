# SPDX-License-Identifier: Apache-2.0
"""Live migrations that arrive, as a client of the API and both hypervisors tell it."""

from __future__ import annotations

import hashlib
import pathlib
import random
import typing
from concurrent import futures

import pytest

from tests.lab import flow
from wherry.testing import lab as labs
from wherry.testing.lab import command

pytestmark = pytest.mark.lab


def arrived(first: str, source: str, destination: str) -> list[tuple[str, str, str]]:
    """Give the events of a success: name, host, result."""
    return [
        (first, "control", "Success"),
        ("compute_check_can_live_migrate_destination", destination, "Success"),
        ("compute_check_can_live_migrate_source", source, "Success"),
        ("compute_pre_live_migration", destination, "Success"),
        ("compute_live_migration", source, "Success"),
        ("compute_post_live_migration_at_destination", destination, "Success"),
    ]


def test_an_idle_guest_moves_and_its_story_is_found_under_the_202(wherry: flow.Flow) -> None:
    """Asynchronous: recorded and answered at once; then each stage with start, finish, host and result."""
    guest = wherry.guest(memory_mib=128, vcpus=2)
    before = wherry.hypervisor(wherry.h1), wherry.hypervisor(wherry.h2)
    move = wherry.live_migrate(guest, version="2.34")
    assert move.answer.content == b""
    record = move.until_ended()
    assert guest.where(active_only=False) == ["h2"]
    assert guest.state().startswith("running")
    assert (record["status"], record["source_compute"], record["dest_compute"], record["reason"]) == ("completed", "h1", "h2", None)
    assert move.told == arrived("conductor_live_migrate_server", "h1", "h2")
    assert all(event["start_time"] <= event["finish_time"] for event in move.events)
    starts = [event["start_time"] for event in move.events]
    assert starts == sorted(starts)
    server = wherry.server(guest)
    assert server is not None
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:power_state"]) == ("ACTIVE", "h2", 1)
    after = wherry.hypervisor(wherry.h1), wherry.hypervisor(wherry.h2)
    names = ("running_vms", "vcpus_used", "memory_mb_used")
    moved = [{name: now[name] - then[name] for name in names} for then, now in zip(before, after, strict=True)]
    assert moved == [
        {"running_vms": -1, "vcpus_used": -2, "memory_mb_used": -128},
        {"running_vms": 1, "vcpus_used": 2, "memory_mb_used": 128},
    ]
    assert after[0]["current_workload"] == after[1]["current_workload"] == 0
    assert wherry.services() == {"h1": "up", "h2": "up", "h3": "up"}


def test_a_blocking_request_is_answered_after_the_checks(wherry: flow.Flow) -> None:
    guest = wherry.guest()
    move = wherry.live_migrate(guest, version=flow.BLOCKING)
    checks = [event for event in move.events if "check_can" in event["event"]]
    assert [event["result"] for event in checks] == ["Success", "Success"]
    move.until_ended()
    assert move.told == arrived("conductor_migrate_server", "h1", "h2")
    assert guest.where(active_only=False) == ["h2"]


def test_a_paused_guest_arrives_paused(wherry: flow.Flow) -> None:
    guest = wherry.guest(paused=True)
    assert flow.until(lambda: (wherry.server(guest) or {}).get("status") == "PAUSED", "the server to be PAUSED")
    assert wherry.live_migrate(guest).until_ended()["status"] == "completed"
    assert guest.where(active_only=False) == ["h2"]
    assert guest.state() == "paused (user)"
    assert not guest.beacon().is_lit, "it has not run an instruction meanwhile"
    server = wherry.server(guest)
    assert server is not None
    assert (server["status"], server["OS-EXT-STS:power_state"]) == ("PAUSED", 3)


@pytest.mark.slow
def test_a_guest_that_writes_slower_than_the_link_converges_as_its_pause_may_grow(wherry: flow.Flow) -> None:
    """The allowed downtime grows in steps; the guest's own count finds no page lost."""
    guest = wherry.guest(payload="counter", memory_mib=64, range_mib=8, rate_mib_per_s=12)
    flow.until(lambda: guest.beacon().passes >= 1, "its range to be written once")
    wherry.h1.migration_link.shape(mib_per_s=18)
    # The ramp reaches its maximum at half of a requested timeout: a step each 0.3 s.
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=6)
    allowed: list[int] = []
    move.until_copying(wherry.h1)
    while move.record["status"] not in ("completed", "failed", "cancelled", "error"):
        try:
            allowed.append(int(wherry.h1.virsh("migrate-getmaxdowntime", guest.name)))
        except labs.CommandFailed:
            # The job is over.
            continue
    record = move.until_ended()
    assert record["status"] == "completed", record
    assert allowed == sorted(allowed)
    assert len(set(allowed)) >= 3, allowed
    assert max(allowed) <= 500, "live_migration_downtime"
    assert record["memory_processed_bytes"] > 12 << 20, "more than its range was sent"
    assert guest.where(active_only=False) == ["h2"]
    passes = guest.beacon().passes
    flow.until(lambda: guest.beacon().passes >= passes + 2, "two passes at the destination")
    guest.check_memory()


# -------------------------------------------------------------------- disks


def fill(path: pathlib.Path, *, mib: int) -> str:
    """Write what no other file holds; gives its digest. QEMU, which reads past the page cache, sees it."""
    content = random.Random(path.name).randbytes(mib << 20)
    path.write_bytes(content)
    return digest(path)


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def images(host: labs.Host) -> set[str]:
    return {path.name for path in host.private_images.iterdir()}


@pytest.mark.parametrize("wish", [True, pytest.param("auto", marks=pytest.mark.slow)])
def test_a_private_disk_is_copied_whole_and_the_sources_is_kept(wherry: flow.Flow, wish: typing.Any) -> None:
    guest = wherry.guest(disk="private", disk_mib=16)
    source, arrival = (host.private_images / f"{guest.name}.raw" for host in (wherry.h1, wherry.h2))
    content = fill(source, mib=16)
    record = wherry.live_migrate(guest, block_migration=wish).until_ended()
    assert record["status"] == "completed", record
    assert guest.where(active_only=False) == ["h2"]
    assert digest(arrival) == content
    assert digest(source) == content
    assert images(wherry.h2) == {arrival.name}, "no probe is left"
    assert record["disk_total_bytes"] >= 16 << 20
    assert record["disk_remaining_bytes"] == 0


@pytest.mark.slow
def test_a_qcow2_disk_is_copied_as_the_guest_sees_it(wherry: flow.Flow) -> None:
    guest = wherry.guest(disk="private", disk_mib=16, disk_format="qcow2")

    device = "/machine/peripheral/virtio-disk0/virtio-backend"
    wherry.h1.virsh("qemu-monitor-command", guest.name, "--hmp", f'qemu-io -d {device} "write -P 0x5a 3M 2M"')
    assert wherry.live_migrate(guest).until_ended()["status"] == "completed"
    source, arrival = (host.private_images / f"{guest.name}.qcow2" for host in (wherry.h1, wherry.h2))
    assert "identical" in command.run(["qemu-img", "compare", "-U", str(source), str(arrival)])
    assert arrival.stat().st_blocks * 512 >= 2 << 20, "and not because nothing was written"
    assert images(wherry.h2) == {arrival.name}


def test_a_shared_disk_is_detected_and_stays(wherry: flow.Flow) -> None:
    guest = wherry.guest(disk="shared", disk_mib=8)
    disk = pathlib.Path(guest.spec.disk_path(wherry.lab.record))
    content = fill(disk, mib=8)
    record = wherry.live_migrate(guest).until_ended()
    assert record["status"] == "completed", record
    assert not record["disk_total_bytes"]
    assert guest.where(active_only=False) == ["h2"]
    assert digest(disk) == content
    assert [path.name for path in wherry.lab.shared_directory.iterdir()] == [disk.name], "no probe is left"


@pytest.mark.slow
def test_an_aborted_copy_of_a_disk_leaves_no_file_of_ours_and_touches_no_other(wherry: flow.Flow) -> None:
    other = wherry.h2.private_images / "somebody-elses.raw"
    other.write_bytes(b"theirs")
    guest = wherry.guest(disk="private", disk_mib=32)
    source = wherry.h1.private_images / f"{guest.name}.raw"
    content = fill(source, mib=32)
    wherry.h1.migration_link.shape(mib_per_s=24)
    move = wherry.live_migrate(guest)
    move.until_status("running")
    flow.until(lambda: flow.job(wherry.h1, guest).get("disk_processed", 0) > 4 << 20, "some of the disk to be sent")
    assert images(wherry.h2) == {other.name, source.name}
    move.abort()
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("cancelled", "requested")
    assert images(wherry.h2) == {other.name}
    assert other.read_bytes() == b"theirs"
    other.unlink()
    assert digest(source) == content
    assert guest.where(active_only=False) == ["h1"]
    assert guest.state().startswith("running")


@pytest.mark.slow
def test_as_many_leave_a_host_at_once_as_are_configured_now(start_wherry: flow.StartWherry) -> None:
    """Twelve by a configuration that was read again: each has a thread of its own, which there were not when it started."""
    few = {"max_concurrent_live_migrations": 1, "cpu_allocation_ratio": 50}
    wherry = start_wherry(is_separate=True, libvirt={"live_migration_bandwidth": 1}, DEFAULT=few)
    process = wherry.process
    assert isinstance(process, flow.Separate)
    process.reconfigure("DEFAULT", max_concurrent_live_migrations=12, max_concurrent_incoming_live_migrations=0)
    with futures.ThreadPoolExecutor(2) as pool:
        names = [f"many{number}" for number in range(12)]
        guests = list(pool.map(lambda name: wherry.guest(name, payload="dirty", memory_mib=48, range_mib=16, rate_mib_per_s=3), names))
    moves = [wherry.live_migrate(guest, version=flow.OWN) for guest in guests]
    for move in moves:
        move.until_status("running", seconds=60)
    assert {move.record["status"] for move in moves} == {"running"}
    for move in moves:
        move.abort()
    assert {move.until_ended(seconds=60)["status"] for move in moves} == {"cancelled"}
