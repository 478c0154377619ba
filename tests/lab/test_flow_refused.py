# SPDX-License-Identifier: Apache-2.0
"""Migrations that the checks refuse: the real cause for who waits and for who looks later, and nothing changed on any hypervisor."""

from __future__ import annotations

import collections.abc
import dataclasses
import re
import subprocess
import typing
import uuid
from concurrent import futures

import pytest

from tests.lab import flow
from wherry.testing import lab as labs

pytestmark = pytest.mark.lab

Wherry = flow.Flow


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What is refused, and what is said of it."""

    slug: str
    #: In the answer below 2.34 and in the event's details.
    said: str
    #: The stage that says no.
    at: str = "compute_check_can_live_migrate_destination"
    #: More of the request.
    keys: dict[str, typing.Any] = dataclasses.field(default_factory=dict)


SOURCE = "compute_check_can_live_migrate_source"


def snapshot(wherry: Wherry) -> typing.Any:
    """What the hypervisors have: domains with their states and definitions, pools, files."""

    def look(host: labs.Host) -> typing.Any:
        asked = ["list --all", "pool-list --all", *(f"dumpxml {name} --inactive" for name in host.domains())]
        return host.virsh("; ".join(asked)), sorted(path.name for path in host.private_images.iterdir())

    with futures.ThreadPoolExecutor(len(wherry.lab.hosts)) as pool:
        return list(pool.map(look, wherry.lab.hosts)), sorted(path.name for path in wherry.lab.shared_directory.iterdir())


def check_refused(wherry: Wherry, guest: labs.Guest, refusal: Refusal) -> None:
    """Ask both ways; each time the cause is told and nothing is changed."""
    before, server = snapshot(wherry), wherry.server(guest)
    blocking = wherry.ask(guest, wherry.h2, version=flow.BLOCKING, **refusal.keys)
    assert (blocking.answer.status_code, re.search(refusal.said, blocking.answer.text)) != (400, None), blocking.answer.text
    assert blocking.answer.status_code == 400
    later = wherry.live_migrate(guest, **refusal.keys)
    record = later.until_ended()
    assert (record["status"], record["reason"]) == ("error", refusal.slug), record
    event = later.event(refusal.at)
    assert event["result"] == "Error"
    assert re.search(refusal.said, event["details"]), event
    assert later.event("conductor_live_migrate_server")["result"] == "Error"
    assert all(event["traceback"] is None for event in later.events)
    now = wherry.server(guest)
    assert server is not None
    assert now is not None
    assert {name: now[name] for name in ("status", "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:vm_state")} == {
        name: server[name] for name in ("status", "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:vm_state")
    }
    assert snapshot(wherry) == before


# -------------------------------------------------------------------- the destination


def test_a_domain_of_the_same_name_or_uuid_is_there(wherry: Wherry) -> None:
    guest = wherry.guest("twin")
    own = {"name": guest.name, "uuid": guest.uuid}
    for what in ("name", "uuid"):
        other = {"name": "another", "uuid": str(uuid.uuid4()), what: own[what]}
        description = f"<domain type='qemu'><name>{other['name']}</name><uuid>{other['uuid']}</uuid><memory unit='MiB'>32</memory>"
        wherry.h2.virsh("define", "/dev/stdin", stdin=f"{description}<os><type>hvm</type></os></domain>")
        try:
            check_refused(wherry, guest, Refusal("domain_present", f"already has a domain with the {what} {own[what]}"))
        finally:
            wherry.h2.virsh("undefine", other["uuid"])


def test_a_bridge_is_missing(wherry: Wherry) -> None:
    assert wherry.h1.exec("ip", "link", "add", "only-here", "type", "bridge").returncode == 0
    try:
        guest = wherry.guest(bridge="only-here")
        check_refused(wherry, guest, Refusal("network_missing", "h2 has no bridge named only-here"))
    finally:
        wherry.h1.exec("ip", "link", "del", "only-here")


def test_a_medium_is_not_there(wherry: Wherry) -> None:
    image = wherry.h1.private_images / "medium.iso"
    image.write_bytes(bytes(2048))
    drive = (
        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/var/lib/libvirt/images/medium.iso'/>"
        "<target dev='hda' bus='ide'/><readonly/></disk>"
    )
    try:
        guest = wherry.guest(extra_devices=drive)
        check_refused(wherry, guest, Refusal("media_unreadable", "h2 cannot read /var/lib/libvirt/images/medium.iso"))
    finally:
        image.unlink()


@pytest.fixture
def poorer_h2(wherry: Wherry) -> collections.abc.Iterator[Wherry]:
    """A destination whose QEMU lacks a machine type, and whose CPU lacks a feature, as its libvirtd remembers them."""
    found = (wherry.h2.directory / "cache" / "qemu" / "capabilities").glob("*.xml")
    (cached,) = (path for path in found if "<emulator>/usr/bin/qemu-system-x86_64<" in path.read_text())
    whole = cached.read_text()
    poorer, machines = re.subn(r"<machine type='\w+' name='pc-q35-[^>]*/>\s*", "", whole)
    poorer, features = re.subn(r"(<property name='cx16' type='boolean' value=')true", r"\1false", poorer)
    assert machines
    assert features
    # libvirtd believes what it found out about a QEMU earlier, as long as the program is the same.
    wherry.h2.kill_libvirtd()
    cached.write_text(poorer)
    wherry.h2.start_libvirtd()
    yield wherry
    wherry.h2.kill_libvirtd()
    cached.write_text(whole)
    wherry.h2.start_libvirtd()


def test_machine_type_and_cpu_are_compared(poorer_h2: Wherry) -> None:
    newer = poorer_h2.guest("machine", machine="q35")
    check_refused(poorer_h2, newer, Refusal("machine_type_unsupported", "h2 does not know the guest's machine type pc-q35-"))
    if poorer_h2.lab.accelerator == "kvm":
        check_refused(poorer_h2, poorer_h2.guest("cpu"), Refusal("cpu_incompatible", "CPU cannot run on h2"))


def test_the_source_cannot_reach_the_destination(wherry: Wherry) -> None:
    guest = wherry.guest()
    rule = ("OUTPUT", "-d", wherry.h2.control_address, "-p", "tcp", "--dport", "16509", "-j", "REJECT", "--reject-with", "tcp-reset")
    assert wherry.h1.exec("iptables", "-w", "-A", *rule).returncode == 0
    try:
        refusal = Refusal("migration_address_unreachable", "The source h1 cannot reach qemu.tcp://h2/system of h2: .*refused", at=SOURCE)
        check_refused(wherry, guest, refusal)
    finally:
        wherry.h1.exec("iptables", "-w", "-D", *rule)


# -------------------------------------------------------------------- disks


def test_a_private_disk_is_not_taken_for_a_shared_one_nor_copied_over_a_file_or_a_job(wherry: Wherry) -> None:
    guest = wherry.guest(disk="private", disk_mib=8)
    here, there = (host.private_images / f"{guest.name}.raw" for host in (wherry.h1, wherry.h2))
    check_refused(wherry, guest, Refusal("storage_not_shared", "h2 is not on shared storage", at=SOURCE, keys={"block_migration": False}))
    there.write_bytes(b"theirs")
    in_the_way = f"h2 already has a file /var/lib/libvirt/images/{there.name}"
    check_refused(wherry, guest, Refusal("destination_disk_exists", in_the_way, at=SOURCE))
    assert there.read_bytes() == b"theirs"
    there.unlink()
    here.write_bytes(b"x" * (8 << 20))
    wherry.h1.virsh("blockcopy", guest.name, "vda", "/var/lib/libvirt/images/copy.raw", "--transient-job", "--bandwidth", "1")
    try:
        busy = r"busy with another job of the hypervisor \(block job of vda\)"
        check_refused(wherry, guest, Refusal("job_active", busy, at=SOURCE))
    finally:
        wherry.h1.virsh("blockjob", guest.name, "vda", "--abort")
        (wherry.h1.private_images / "copy.raw").unlink()


def test_a_shared_disk_is_not_copied_nor_trusted_with_an_unsafe_cache(wherry: Wherry) -> None:
    guest = wherry.guest(disk="shared", disk_mib=4, disk_cache="unsafe")
    check_refused(wherry, guest, Refusal("storage_shared", "h2 is not on local storage", at=SOURCE, keys={"block_migration": True}))
    check_refused(wherry, guest, Refusal("unsafe_disk_cache", "Disk vda uses cache mode unsafe", at=SOURCE))


def test_there_is_no_space_for_the_disks_full_size(wherry: Wherry) -> None:
    """Asked for as up to 2.24, where disk_over_commit says whether a sparse disk counts in full."""
    guest = wherry.guest(disk="private", disk_mib=15 << 20)
    before = snapshot(wherry)
    keys = {"block_migration": True, "disk_over_commit": False}
    answer = wherry.ask(guest, wherry.h2, version="2.24", **keys).answer
    assert answer.status_code == 400
    assert re.search(r"h2 has \d+ bytes free in /var/lib/libvirt/images; the copied disks need \d+", answer.text), answer.text
    assert snapshot(wherry) == before


# -------------------------------------------------------------------- the guest


def test_a_device_of_the_host_cannot_move(wherry: Wherry) -> None:
    folder = "<filesystem type='mount'><source dir='/var/lib/libvirt/images'/><target dir='here'/></filesystem>"
    guest = wherry.guest(extra_devices=folder)
    check_refused(wherry, guest, Refusal("passthrough_device", "host's device host directory /var/lib/libvirt/images", at=SOURCE))


def test_snapshots_cannot_move(wherry: Wherry) -> None:
    guest = wherry.guest(disk="shared", disk_format="qcow2", disk_mib=64, memory_mib=64, persistent=True)
    wherry.h1.virsh("snapshot-create-as", guest.name, "before")
    try:
        check_refused(wherry, guest, Refusal("snapshots_present", "The guest has 1 snapshots", at=SOURCE))
    finally:
        wherry.h1.virsh("snapshot-delete", guest.name, "before")


def test_a_guest_paused_since_it_arrived_is_not_sent_on(wherry: Wherry) -> None:
    """QEMU would die of it. Once it has run, if only to halt, it may go; and it matters neither who sent it nor that libvirtd forgets."""
    guest = wherry.guest(paused=True, disk="shared", disk_mib=4)
    assert wherry.live_migrate(guest, wherry.h3).until_ended()["status"] == "completed", "created paused, it may go"
    wherry.h3.restart_libvirtd()
    check_refused(wherry, guest, Refusal("paused_since_arrival", "arrived paused at h3 and has not run since", at=SOURCE))
    assert guest.state() == "paused (user)"
    for act, status in (("unpause", "ACTIVE"), ("pause", "PAUSED")):
        assert wherry.request("POST", f"/servers/{guest.uuid}/action", json={act: None}).status_code == 202
        until_shown(wherry, guest, status)
    assert wherry.live_migrate(guest).until_ended()["status"] == "completed"

    wherry.h2.virsh(f"resume {guest.name}; suspend {guest.name}; migrate {guest.name} {wherry.h1.uri} --live --p2p --unsafe")
    flow.until(lambda: (wherry.server(guest) or {}).get("OS-EXT-SRV-ATTR:host") == "h1", "the guest to be found at h1")
    check_refused(wherry, guest, Refusal("paused_since_arrival", "arrived paused at h1 and has not run since", at=SOURCE))
    assert (guest.where(active_only=False), guest.state()) == (["h1"], "paused (user)")


def until_shown(wherry: Wherry, guest: labs.Guest, status: str) -> None:
    """Wait until a client sees the status, and that nothing is being done."""

    def is_shown() -> bool:
        server = wherry.server(guest) or {}
        return (server.get("status"), server.get("OS-EXT-STS:task_state")) == (status, None)

    flow.until(is_shown, status)


@pytest.mark.slow
def test_a_guest_that_somebody_migrates_by_hand_is_busy_and_is_left_alone(wherry: Wherry) -> None:
    guest = wherry.guest(payload="dirty", range_mib=32, rate_mib_per_s=60)
    wherry.h1.migration_link.shape(mib_per_s=10)
    # To h3, so that h2 has no domain of its name.
    command = ["virsh", "-q", "-c", wherry.h1.uri, "migrate", guest.name, wherry.h3.uri, "--live", "--p2p"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as by_hand:
        flow.until(lambda: flow.job(wherry.h1, guest).get("memory_processed"), "the copy to begin")
        refusal = r"busy with another job of the hypervisor \(migration out\)"
        answer = wherry.ask(guest, wherry.h2, version=flow.BLOCKING).answer
        assert (answer.status_code, bool(re.search(refusal, answer.text))) == (400, True), answer.text
        later = wherry.live_migrate(guest)
        assert later.until_ended()["reason"] == "job_active"
        assert flow.job(wherry.h1, guest), "the other's job goes on"
        assert by_hand.poll() is None
        server = wherry.server(guest)
        assert server is not None
        assert server["OS-EXT-SRV-ATTR:host"] == "h1", "the half of it at h3 is no server"
        wherry.h1.virsh("domjobabort", guest.name)
        assert by_hand.wait(10) != 0


# -------------------------------------------------------------------- which hosts


def test_what_cannot_be_meant_is_refused_at_once(wherry: Wherry) -> None:
    """The guest's own host, a host that nobody knows or that is disabled, and a guest that is off."""
    guest = wherry.guest(persistent=True)
    to_itself = wherry.ask(guest, wherry.h1, version=flow.BLOCKING).answer
    assert (to_itself.status_code, "to current host h1" in to_itself.text) == (400, True), to_itself.text
    asked = {"os-migrateLive": {"host": "h9", "block_migration": "auto"}}
    unknown = wherry.request("POST", f"/servers/{guest.uuid}/action", json=asked)
    assert (unknown.status_code, "Compute host h9 could not be found" in unknown.text) == (400, True), unknown.text
    service = next(one["id"] for one in wherry.get("/os-services?binary=nova-compute")["services"] if one["host"] == "h2")
    for status in ("disabled", "enabled"):
        assert wherry.request("PUT", f"/os-services/{service}", json={"status": status}).status_code == 200
        if status == "disabled":
            disabled = wherry.ask(guest, wherry.h2, version=flow.BLOCKING).answer
            assert (disabled.status_code, "Compute service of h2 is disabled" in disabled.text) == (400, True), disabled.text
    wherry.h1.virsh("destroy", guest.name)
    flow.until(lambda: (wherry.server(guest) or {}).get("status") == "SHUTOFF", "the server to be SHUTOFF")
    for version in (flow.BLOCKING, flow.ASYNCHRONOUS):
        answer = wherry.ask(guest, wherry.h2, version=version).answer
        assert answer.status_code == 409, answer.text
    assert wherry.h1.domain_state(guest.name).startswith("shut off")


def test_a_refusing_destination_is_skipped_for_the_next(wherry: Wherry) -> None:
    """No host named: each try is an event of its own, and the guest arrives where it can run."""
    for host in (wherry.h1, wherry.h3):
        assert host.exec("ip", "link", "add", "not-on-h2", "type", "bridge").returncode == 0
    try:
        guest = wherry.guest(bridge="not-on-h2")
        move = wherry.ask(guest, None)
        assert move.until_ended()["dest_compute"] == "h3"
        assert guest.where(active_only=False) == ["h3"]
        checks = [(host, result) for name, host, result in move.told if name == "compute_check_can_live_migrate_destination"]
        # Whichever was chosen first: the two weigh the same.
        assert checks in ([("h2", "Error"), ("h3", "Success")], [("h3", "Success")])
    finally:
        for host in (wherry.h1, wherry.h3):
            host.exec("ip", "link", "del", "not-on-h2")
