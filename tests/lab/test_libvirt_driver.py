# SPDX-License-Identifier: Apache-2.0
"""What only libvirt has: its threads and connections, its flags, its disks. The contract suite proves the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.lab import libvirt_harness
from wherry import errors
from wherry.drivers import base, registry
from wherry.model import guest, migration, truth
from wherry.testing import driver_contract
from wherry.testing import lab as labs

pytestmark = [pytest.mark.lab]

PRIVATE = "/var/lib/libvirt/images"
ABORT_LIMIT_SECONDS = 0.3


@pytest.fixture
async def harness(lab: labs.Lab) -> AsyncIterator[libvirt_harness.LibvirtHarness]:
    async with libvirt_harness.opened(lab) as bound:
        yield bound


def _move(harness: libvirt_harness.LibvirtHarness, made: labs.Guest) -> driver_contract.Move:
    return driver_contract.Move(harness, made.uuid)


def _run(host: labs.Host, *argv: str) -> str:
    done = host.exec(*argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _complete(move: driver_contract.Move, options: base.TransferOptions | None = None) -> guest.Guest:
    await move.check_prepare_start(options or base.TransferOptions(downtime_ms=500))
    await move.wait_ended()
    assert await move.verdict() is truth.Verdict.COMPLETED
    return await move.finish()


async def test_uptime_and_address_are_the_machines_own(harness: libvirt_harness.LibvirtHarness, lab: labs.Lab) -> None:
    """Read from afar, through libvirt alone; all hosts of the lab are this machine."""
    described = await harness.source_driver.describe_host()
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert described.uptime_seconds is not None
    # A machine that is a guest itself is not told what was stolen from it.
    assert 0.9 * up < described.uptime_seconds < 1.01 * up, f"told {described.uptime_seconds} s, up for {up:.1f} s"
    assert described.host_address == lab.host("h1").control_address


async def test_libvirt_counts_what_a_guest_uses(harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest) -> None:
    made = make_guest(payload="counter", memory_mib=64, range_mib=16, rate_mib_per_s=16, disk="private", disk_mib=8, bridge="lab0")
    usage = await harness.source_driver.measure_guest(made.uuid)
    (time_of_vcpu,) = usage.vcpu_nanoseconds
    assert time_of_vcpu is not None and time_of_vcpu > 0
    assert usage.memory_used_mib == 64
    (disk,) = usage.disks
    assert None not in (disk.read_bytes, disk.read_requests, disk.write_bytes, disk.write_requests), disk
    (interface,) = usage.interfaces
    assert interface.mac.startswith("52:54:00:") and None not in dataclasses.astuple(interface.received), interface


# ------------------------------------------------------------- calls and threads


# The same is proven through the API in test_flow_faults.py.
@pytest.mark.slow
async def test_an_abort_reaches_libvirt_at_once_while_six_guests_leave_one_host(
    harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest
) -> None:
    moves = [_move(harness, make_guest(f"six{number}", payload="dirty", memory_mib=96, rate_mib_per_s=8)) for number in range(6)]
    slow = base.TransferOptions(downtime_ms=1, bandwidth_mib_per_s=2)
    await asyncio.gather(*(move.check_prepare_start(slow) for move in moves))
    is_over = False

    async def poll(move: driver_contract.Move) -> None:
        # As six monitors would, meanwhile.
        while not is_over:
            await harness.source_driver.read_transfer(move.instance_uuid)
            await harness.clock.sleep(0.1)

    polls = [asyncio.create_task(poll(move)) for move in moves]
    took = []
    for move in moves:
        assert (await harness.source_driver.observe_guest(move.instance_uuid)).has_job
        began = time.perf_counter()
        await harness.source_driver.abort_transfer(move.instance_uuid)
        took.append(time.perf_counter() - began)
    is_over = True
    await asyncio.gather(*polls)
    for move in moves:
        await move.wait_ended()
        assert (await move.sides()).source is guest.GuestState.RUNNING
    assert max(took) < ABORT_LIMIT_SECONDS, took


_HANGING_CLIENT = """
import asyncio, os, signal, sys
from wherry import clock, config, errors
from wherry.drivers import base, registry

async def main():
    section = config.LibvirtSection(call_timeout_seconds=3.0, open_timeout_seconds=3.0)
    make = registry.load("libvirt")
    driver = make(base.HostSettings(name="h1", connection_uri=sys.argv[1]), section, clock.LoopClock())
    await driver.open()
    os.kill(int(sys.argv[2]), signal.SIGSTOP)
    try:
        await driver.describe_guests()
    except errors.HypervisorUnavailable:
        print("unavailable")
    await driver.close()
    try:
        await make(base.HostSettings(name="h1", connection_uri=sys.argv[1]), section, clock.LoopClock()).open()
    except errors.HypervisorUnavailable:
        print("not opened")

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_daemon_that_hangs_keeps_neither_open_nor_close_nor_the_process(lab: labs.Lab) -> None:
    host = lab.host("h1")
    daemon = host.libvirtd
    assert daemon is not None
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _HANGING_CLIENT, host.uri, str(daemon.pid)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    host.continue_libvirtd()
    assert (done.stdout.split("\n")[:2], done.stderr, done.returncode) == (["unavailable", "not opened"], "", 0)
    assert time.monotonic() - began < 15, "twice 3 s, and the start of Python on a busy machine"


@pytest.mark.slow
async def test_a_guest_whose_qemu_hangs_keeps_no_other_guest_waiting(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    hung, well = make_guest("hung"), make_guest("well")
    process = lab.host("h1").qemu_process("hung")
    assert process is not None
    process.send(signal.SIGSTOP)
    try:
        stuck = [asyncio.create_task(harness.source_driver.pause_guest(hung.uuid)) for _ in range(3)]
        await harness.clock.sleep(0.1)
        began = time.perf_counter()
        assert (await harness.source_driver.observe_guest(well.uuid)).state is guest.GuestState.RUNNING
        (found,) = await harness.source_driver.describe_guests([well.uuid])
        assert found.name == "well"
        assert time.perf_counter() - began < 0.5
        outcomes = await asyncio.gather(*stuck, return_exceptions=True)
        assert all(isinstance(outcome, errors.HypervisorUnavailable) for outcome in outcomes), outcomes
    finally:
        process.send(signal.SIGCONT)


async def test_a_connection_that_comes_back_brings_its_events_again(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("listened", persistent=True)
    signals: list[base.Signal] = []
    stop = harness.source_driver.subscribe(signals.append)
    await asyncio.to_thread(lab.host("h1").restart_libvirtd)

    async def connection() -> list[str]:
        return [signal.detail for signal in signals if signal.kind is base.SignalKind.CONNECTION]

    said = await harness.wait_for(connection, lambda details: details[-1:] == ["connected"], "the connection is back")
    assert said[0].startswith("the connection was lost")
    assert (await harness.source_driver.observe_guest(made.uuid)).state is guest.GuestState.RUNNING
    await harness.pause_guest(harness.source, made.uuid)

    async def suspended() -> bool:
        return any(signal.instance_uuid == made.uuid and signal.detail == "suspended" for signal in signals)

    await harness.wait_for(suspended, bool, "the new connection's events arrive")
    stop()


@pytest.mark.slow
async def test_a_transfer_outlives_the_connection_that_began_it_and_is_led_to_its_end(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("outliving", payload="dirty", rate_mib_per_s=20, persistent=True)
    move = _move(harness, made)
    await move.check_prepare_start(move.slowly())
    signals: list[base.Signal] = []
    stop = harness.source_driver.subscribe(signals.append)
    lab.host("h1").stop_libvirtd()

    async def losses() -> int:
        return sum(signal.kind is base.SignalKind.CONNECTION for signal in signals)

    try:
        await harness.wait_for(losses, lambda count: count > 0, "the keep-alive has noticed")
    finally:
        lab.host("h1").continue_libvirtd()
    await harness.wait_for(losses, lambda count: count > 1, "the connection is back")
    lost = await harness.source_driver.read_transfer(made.uuid)
    assert lost.is_active and lost.call_error, "the call has ended, the transfer has not"
    await harness.source_driver.tune_transfer(made.uuid, downtime_ms=2000, bandwidth_mib_per_s=0)
    await move.wait_ended()
    assert await move.verdict() is truth.Verdict.COMPLETED
    stop()


# -------------------------------------------------------------------- the transfer


async def test_downtime_and_bandwidth_hold_from_the_first_pass_and_incoming_is_no_server(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("limited", payload="dirty", rate_mib_per_s=30, persistent=True)
    move = _move(harness, made)
    await move.check_prepare_start(base.TransferOptions(downtime_ms=37, bandwidth_mib_per_s=3))
    asked = '{"execute":"query-migrate-parameters"}'
    said = json.loads(await asyncio.to_thread(lab.host("h1").virsh, "qemu-monitor-command", "limited", asked))["return"]
    assert (said["downtime-limit"], said["max-bandwidth"]) == (37, 3 << 20)
    await harness.source_driver.tune_transfer(made.uuid, downtime_ms=41, bandwidth_mib_per_s=5)
    said = json.loads(await asyncio.to_thread(lab.host("h1").virsh, "qemu-monitor-command", "limited", asked))["return"]
    assert (said["downtime-limit"], said["max-bandwidth"]) == (41, 5 << 20)
    (incoming,) = await harness.destination_driver.describe_guests([made.uuid])
    assert incoming.is_incoming and incoming.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER
    (leaving,) = await harness.source_driver.describe_guests([made.uuid])
    assert not leaving.is_incoming and leaving.active_job == "migration out"
    await harness.source_driver.tune_transfer(made.uuid, downtime_ms=2000, bandwidth_mib_per_s=0)
    ended = await move.wait_ended()
    assert await move.verdict() is truth.Verdict.COMPLETED
    assert ended.progress and ended.progress.downtime_ms is not None and ended.progress.memory_remaining_bytes == 0


async def test_what_the_destination_refuses_at_the_last_moment_is_told_as_a_refusal(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    move = _move(harness, make_guest("refused", persistent=True))
    await move.check()
    assert move.plan.guest is not None
    lab.host("h2").virsh("define", "/dev/stdin", stdin=move.plan.guest.definition.replace(move.instance_uuid, str(uuid.uuid4())))
    try:
        with pytest.raises(errors.TransferRefused) as refusal:
            await move.start(base.TransferOptions(downtime_ms=100))
        assert "refused" in str(refusal.value.fields["detail"])
        sides = await move.sides()
        assert (sides.source, sides.destination, sides.has_job) == (guest.GuestState.RUNNING, guest.GuestState.ABSENT, False)
    finally:
        lab.host("h2").virsh("undefine", "refused")


async def test_a_transient_guest_stays_transient_and_a_persistent_one_is_moved_whole(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    transient = make_guest("passing", persistent=False)
    arrived = await _complete(_move(harness, transient))
    assert not arrived.is_persistent
    persistent = make_guest("staying", persistent=True, disk="shared", bridge="lab0")
    arrived = await _complete(_move(harness, persistent))
    assert arrived.is_persistent and arrived.interfaces[0].name == "lab0"
    assert lab.host("h1").domains() == []


@pytest.mark.parametrize(
    "options",
    [{"live_migration_tunnelled": True}, {"live_migration_parallel_connections": 2}, {"live_migration_permit_auto_converge": True}],
    ids=lambda options: next(iter(options)).removeprefix("live_migration_"),
)
async def test_ways_of_sending(harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest, options: dict[str, Any]) -> None:
    move = _move(harness, make_guest("sent", payload="dirty", rate_mib_per_s=10))
    section = dataclasses.replace(libvirt_harness.SECTION, **options)
    driver = registry.load("libvirt")(harness.source, section, harness.clock)
    await driver.open()
    await move.check()
    await driver.check_source(move.source_task, await move.leaving(), move.request, _facts(move))
    await driver.start_transfer(move.source_task, move.plan, base.TransferOptions(downtime_ms=500))
    await move.wait_ended()
    assert await move.verdict() is truth.Verdict.COMPLETED
    await driver.close()


def _facts(move: driver_contract.Move) -> migration.DestinationFacts:
    assert move.plan.facts is not None
    return move.plan.facts


async def test_post_copy_and_parallel_connections_are_refused_together_before_anything_is_served(
    harness: libvirt_harness.LibvirtHarness,
) -> None:
    section = dataclasses.replace(libvirt_harness.SECTION, live_migration_parallel_connections=2, live_migration_permit_post_copy=True)
    driver = registry.load("libvirt")(harness.source, section, harness.clock)
    with pytest.raises(errors.ConfigInvalid) as refusal:
        await driver.open()
    assert "live_migration_permit_post_copy = false" in refusal.value.remedy
    with pytest.raises(errors.HypervisorUnavailable):
        await driver.describe_guests()


async def test_an_abort_before_the_copy_begins_is_no_refusal(harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest) -> None:
    made = make_guest("early", payload="dirty", rate_mib_per_s=30)
    move = _move(harness, made)
    await move.check()
    starting = asyncio.create_task(move.start(move.slowly()))
    await harness.wait_for(lambda: harness.source_driver.observe_guest(made.uuid), lambda seen: seen.has_job, "there is a job")
    await harness.source_driver.abort_transfer(made.uuid)
    await starting
    await move.wait_ended()
    assert await move.verdict(truth.LastIntent.ABORT) is truth.Verdict.CANCELLED
    await move.roll_back()
    assert (await move.sides()).destination is guest.GuestState.ABSENT


async def test_more_transfers_than_threads_are_refused_and_the_guest_runs_on(
    harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest
) -> None:
    section = dataclasses.replace(libvirt_harness.SECTION, max_worker_threads=6, max_control_connections=4)
    narrow = registry.load("libvirt")(harness.source, section, harness.clock)
    await narrow.open()
    moves = [_move(harness, make_guest(f"queue{number}", payload="dirty", rate_mib_per_s=8, memory_mib=96)) for number in range(2)]
    for move in moves:
        await move.check()
    slow = base.TransferOptions(downtime_ms=1, bandwidth_mib_per_s=2)
    await narrow.start_transfer(moves[0].source_task, moves[0].plan, slow)
    with pytest.raises(errors.TransferRefused) as refusal:
        await narrow.start_transfer(moves[1].source_task, moves[1].plan, slow)
    assert "max_worker_threads" in str(refusal.value.fields["detail"])
    await narrow.abort_transfer(moves[0].instance_uuid)
    await moves[0].wait_ended()
    assert {(await move.sides()).source for move in moves} == {guest.GuestState.RUNNING}
    await narrow.close()


# --------------------------------------------------------------------------- disks


async def test_an_overlay_is_copied_into_one_image_in_a_directory_made_for_it(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    source, destination = lab.host("h1"), lab.host("h2")
    place = f"{PRIVATE}/deep/guest"
    _run(source, "mkdir", "-p", place)
    _run(source, "sh", "-c", f"head -c 3000000 /dev/urandom > {place}/below.raw; truncate -s 8M {place}/below.raw")
    _run(source, "qemu-img", "create", "-f", "qcow2", "-b", f"{place}/below.raw", "-F", "raw", f"{place}/top.qcow2")
    _run(source, "qemu-io", "-c", "write -P 7 4M 1M", f"{place}/top.qcow2")
    # Written down by somebody: libvirt would look for it at the destination.
    chain = f"<backingStore type='file'><format type='raw'/><source file='{place}/below.raw'/></backingStore>"
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='{place}/top.qcow2'/>{chain}"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    made = make_guest("layered", extra_devices=disk, persistent=True)
    content = _run(source, "sh", "-c", f"qemu-img convert -U -O raw {place}/top.qcow2 /tmp/layered.raw; sha256sum < /tmp/layered.raw")
    move = _move(harness, made)
    arrived = await _complete(move)
    assert [disk.backing for disk in arrived.disks] == [""]
    assert f"{PRIVATE}/deep/" in move.created_at_destination.named
    made.destroy()
    copied = _run(destination, "sh", "-c", f"qemu-img convert -O raw {place}/top.qcow2 /tmp/layered.raw; sha256sum < /tmp/layered.raw")
    assert copied == content
    assert _run(destination, "ls", place).split() == ["top.qcow2"]
    for host in (source, destination):
        _run(host, "rm", "-rf", f"{PRIVATE}/deep", "/tmp/layered.raw")


async def test_the_undo_removes_what_was_made_and_keeps_what_is_used_or_not_ours(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    source, destination = lab.host("h1"), lab.host("h2")
    _run(source, "mkdir", f"{PRIVATE}/undone")
    _run(source, "truncate", "-s", "8M", f"{PRIVATE}/undone/disk.raw")
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{PRIVATE}/undone/disk.raw'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    made = make_guest("undone", extra_devices=disk)
    user = make_guest("user", "h2", disk="private", disk_mib=8)
    move = _move(harness, made)
    await move.check()
    await move.prepare()
    assert _run(destination, "ls", f"{PRIVATE}/undone").split() == ["disk.raw"]
    # Named by mistake, yet in use by a guest there.
    move.created_at_destination.named.add(f"{PRIVATE}/user.raw")
    _run(destination, "touch", f"{PRIVATE}/undone/theirs")
    await move.roll_back()
    assert _run(destination, "ls", f"{PRIVATE}/undone").split() == ["theirs"], "not empty, so kept"
    _run(destination, "rm", f"{PRIVATE}/undone/theirs")
    await move.roll_back()
    assert sorted(_run(destination, "ls", PRIVATE).split()) == ["user.raw"]
    assert destination.virsh("pool-list", "--all", "--name").split() == []
    assert user.state(destination).startswith("running")
    made.destroy()
    _run(source, "rm", "-r", f"{PRIVATE}/undone")


async def test_an_existing_pool_is_used_and_left_as_it_was(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    destination = lab.host("h2")
    pool = f"<pool type='dir'><name>images</name><target><path>{PRIVATE}</path></target></pool>"
    destination.virsh("pool-define", "/dev/stdin", stdin=pool)
    try:
        for is_active in (False, True):
            if is_active:
                destination.virsh("pool-start", "images")
            made = make_guest(f"pooled{int(is_active)}", disk="private", disk_mib=8)
            before = destination.virsh("pool-list", "--all")
            move = _move(harness, made)
            await move.check()
            assert destination.virsh("pool-list", "--all") == before
            await move.prepare()
            assert (destination.private_images / f"{made.name}.raw").stat().st_size == 8 << 20
            await move.roll_back()
            assert destination.virsh("pool-list", "--all") == before
            assert list(destination.private_images.iterdir()) == []
    finally:
        harness_pools = destination.virsh("pool-list", "--name").split()
        if "images" in harness_pools:
            destination.virsh("pool-destroy", "images")
        destination.virsh("pool-undefine", "images")


# ------------------------------------------------------------------------- leftovers


async def test_a_saved_guest_and_a_running_one_are_never_taken_for_leftovers(
    harness: libvirt_harness.LibvirtHarness, lab: labs.Lab, make_guest: labs.MakeGuest
) -> None:
    made = make_guest("saved", "h2", persistent=True)
    move = _move(harness, made)
    await move.roll_back()
    assert made.state(lab.host("h2")).startswith("running")
    lab.host("h2").virsh("managedsave", "saved")
    with pytest.raises(errors.HypervisorFailure):
        await move.roll_back()
    assert lab.host("h2").domains() == ["saved"]
    lab.host("h2").virsh("managedsave-remove", "saved")
    await move.roll_back()
    assert lab.host("h2").domains() == []


async def test_thirty_checks_at_once_share_one_directory(harness: libvirt_harness.LibvirtHarness, make_guest: labs.MakeGuest) -> None:
    """There can be one pool a directory: checks take turns, and none finds another's pool gone."""
    made = make_guest("popular", disk="shared", disk_mib=8)
    before = await harness.snapshot(harness.destination)

    async def check() -> int:
        move = _move(harness, made)
        facts = await move.check_destination()
        await move.release(facts)
        return len(facts.probes)

    assert await asyncio.gather(*(check() for _ in range(30))) == [1] * 30
    assert await harness.snapshot(harness.destination) == before
