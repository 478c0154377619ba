# SPDX-License-Identifier: Apache-2.0
"""Cold migration, resize, confirmation and the way back of real guests: what the API, libvirt and the disks themselves tell."""

from __future__ import annotations

import json

import pytest

from tests.lab import cold, flow

pytestmark = pytest.mark.lab


@pytest.fixture
def quick(start_wherry: flow.StartWherry) -> flow.Flow:
    """A Wherry that gives guests a moment to shut down: the lab's payloads do not heed ACPI."""
    return start_wherry(
        DEFAULT={"allow_resize_to_same_host": False},
        conductor={"shutdown_timeout_seconds": 0.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.2},
    )


@pytest.mark.slow
def test_a_guest_with_a_disk_of_its_own_goes_there_and_on_and_back(quick: flow.Flow) -> None:
    """The pattern on its disk is intact at each stage; a copy that Wherry made goes with the guest, the one that was found stays."""
    guest = quick.guest(persistent=True, disk="private", disk_mib=64)
    quick.h1.virsh("autostart", guest.name)
    cold.mark_running(quick, guest)

    cold.moved(quick, guest, quick.h2)
    assert quick.h1.domain_state(guest.name).startswith("shut off")
    assert quick.h2.domain_state(guest.name).startswith("running")
    assert not cold.is_autostarted(quick.h1, guest) and cold.is_autostarted(quick.h2, guest)
    assert cold.has_mark(cold.image(quick.h2, guest))
    guest.wait_for_payload(quick.h2)
    told = [(event["event"], event["host"], event["result"]) for event in reversed(cold.details(quick, guest))]
    assert told == [
        ("conductor_migrate_server", "control", "Success"),
        ("cold_migrate", "control", "Success"),
        ("compute_prep_resize", "h2", "Success"),
        ("compute_resize_instance", "h1", "Success"),
        ("compute_finish_resize", "h2", "Success"),
    ]

    cold.act(quick, guest, "confirmResize")
    cold.until(quick, guest, "ACTIVE", quick.h2)
    assert guest.name not in quick.h1.domains(active_only=False)
    assert cold.has_mark(cold.image(quick.h1, guest)), "it was found there, so it is nobody's to delete"
    (event,) = cold.details(quick, guest)
    assert "Kept on h1" in event["details"]

    cold.moved(quick, guest, quick.h3)
    cold.act(quick, guest, "revertResize")
    cold.until(quick, guest, "ACTIVE", quick.h2)
    assert guest.where(active_only=False) == ["h2"]
    assert not cold.image(quick.h3, guest).exists()
    assert cold.has_mark(cold.image(quick.h2, guest)) and cold.is_autostarted(quick.h2, guest)

    cold.moved(quick, guest, quick.h3)
    cold.act(quick, guest, "confirmResize")
    cold.until(quick, guest, "ACTIVE", quick.h3)
    assert guest.where(active_only=False) == ["h3"]
    assert cold.has_mark(cold.image(quick.h3, guest))
    assert not cold.image(quick.h2, guest).exists(), "Wherry made it, so it went with the guest"


@pytest.mark.slow
def test_a_resized_guest_has_its_new_size_and_goes_back_to_the_old_one(quick: flow.Flow) -> None:
    """Memory, vCPUs and the disk's end, which grew; the source's disk is as long as it was, and its content as it was."""
    guest = quick.guest(persistent=True, disk="private", disk_format="qcow2", disk_mib=64, memory_mib=128)
    cold.stop(quick, guest)
    cold.mark(cold.image(quick.h1, guest), "qcow2")
    cold.act(quick, guest, "os-start")
    flow.until(lambda: (quick.server(guest) or {}).get("status") == "ACTIVE", "it to run")

    cold.act(quick, guest, "resize", {"flavorRef": "c2-m192-d1"})
    server = flow.until(lambda: cold.waiting(quick, guest), "it to be resized", seconds=60)
    there = quick.lab.host(server["OS-EXT-SRV-ATTR:host"])
    assert there is not quick.h1
    assert (server["flavor"]["ram"], server["flavor"]["vcpus"], server["flavor"]["disk"]) == (192, 2, 1)
    information = there.virsh("dominfo", guest.name)
    assert "196608 KiB" in information and cold.vcpus(there, guest) == 2
    assert cold.size(cold.image(there, guest)) == 1 << 30
    assert cold.has_mark(cold.image(there, guest), "qcow2")
    guest.wait_for_payload(there)

    cold.act(quick, guest, "revertResize")
    server = cold.until(quick, guest, "ACTIVE", quick.h1)
    assert (server["flavor"]["ram"], server["flavor"]["vcpus"]) == (128, 1)
    assert cold.vcpus(quick.h1, guest) == 1 and guest.where(active_only=False) == ["h1"]
    assert cold.size(cold.image(quick.h1, guest)) == 64 << 20
    assert cold.has_mark(cold.image(quick.h1, guest), "qcow2")
    assert not cold.image(there, guest).exists()

    cold.act(quick, guest, "resize", {"flavorRef": "c2-m192-d1"})
    server = flow.until(lambda: cold.waiting(quick, guest), "it to be resized again", seconds=60)
    there = quick.lab.host(server["OS-EXT-SRV-ATTR:host"])
    cold.act(quick, guest, "confirmResize")
    cold.until(quick, guest, "ACTIVE", there)
    assert cold.has_mark(cold.image(there, guest), "qcow2") and cold.vcpus(there, guest) == 2


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [False, True], ids=["flattened", "on-its-base"])
def test_an_overlay_goes_with_what_is_below_it(quick: flow.Flow, is_there: bool) -> None:
    """As one image where its base is not at the destination, as it is where the same one is; the guest sees the same disk."""
    base = quick.h1.private_images / "base.qcow2"
    others = [host.private_images / "base.qcow2" for host in (quick.h2, quick.h3)]
    guest = quick.guest(persistent=True, disk="private", disk_format="qcow2", disk_mib=64)
    try:
        cold.stop(quick, guest)
        cold.run("qemu-img", "create", "-f", "qcow2", str(base), "64M")
        cold.mark(base, "qcow2")
        image = cold.image(quick.h1, guest)
        image.unlink()
        cold.run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", str(image), "64M")
        cold.run("qemu-io", "-f", "qcow2", "-c", "write -P 7 30M 1M", str(image))
        if is_there:
            for other in others:
                other.write_bytes(base.read_bytes())
        cold.act(quick, guest, "os-start")
        flow.until(lambda: (quick.server(guest) or {}).get("status") == "ACTIVE", "it to run")
        before = sorted(path.name for path in quick.h1.private_images.iterdir())
        cold.moved(quick, guest, quick.h2)
        arrived = cold.image(quick.h2, guest)
        below = json.loads(cold.run("qemu-img", "info", "-U", "--output=json", str(arrived))).get("backing-filename", "")
        assert bool(below) is is_there
        assert cold.has_mark(arrived, "qcow2")
        cold.run("qemu-img", "compare", "-U", str(image), str(arrived))
        assert sorted(path.name for path in quick.h1.private_images.iterdir()) == before, "nothing is left of the flattening"
        cold.act(quick, guest, "revertResize")
        cold.until(quick, guest, "ACTIVE", quick.h1)
        assert not arrived.exists() and cold.has_mark(image, "qcow2")
    finally:
        for path in (base, *others):
            path.unlink(missing_ok=True)


@pytest.mark.slow
def test_a_guest_on_shared_storage_that_is_off_stays_off(quick: flow.Flow) -> None:
    """Nothing is sent, and neither the move nor the way back starts it."""
    guest = quick.guest(persistent=True, disk="shared", disk_mib=64)
    cold.stop(quick, guest)
    disk = quick.lab.shared_directory / f"{guest.name}.raw"
    cold.mark(disk)
    cold.moved(quick, guest, quick.h2)
    assert quick.h2.domain_state(guest.name).startswith("shut off")
    cold.act(quick, guest, "revertResize")
    cold.until(quick, guest, "SHUTOFF", quick.h1)
    cold.moved(quick, guest, quick.h3)
    cold.act(quick, guest, "confirmResize")
    cold.until(quick, guest, "SHUTOFF", quick.h3)
    assert guest.where(active_only=False) == ["h3"] and cold.has_mark(disk)


@pytest.mark.slow
def test_a_guest_becomes_another_size_where_it_is(start_wherry: flow.StartWherry) -> None:
    """With no room elsewhere and leave to stay: redefined, its disk grown in its place; taken back, it has its old memory."""
    running = start_wherry(
        DEFAULT={"allow_resize_to_same_host": True},
        conductor={"shutdown_timeout_seconds": 0.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.2},
    )
    guest = running.guest(persistent=True, disk="private", disk_mib=64, memory_mib=128)
    for name in ("h2", "h3"):
        service = running.get(f"/os-services?host={name}&binary=nova-compute")["services"][0]["id"]
        assert running.request("PUT", f"/os-services/{service}", json={"status": "disabled"}).status_code == 200
    cold.mark_running(running, guest)
    cold.act(running, guest, "resize", {"flavorRef": "c2-m192-d1"})
    cold.until(running, guest, "VERIFY_RESIZE", running.h1)
    assert (cold.vcpus(running.h1, guest), cold.size(cold.image(running.h1, guest))) == (2, 1 << 30)
    cold.act(running, guest, "revertResize")
    cold.until(running, guest, "ACTIVE", running.h1)
    assert cold.vcpus(running.h1, guest) == 1 and cold.has_mark(cold.image(running.h1, guest))


@pytest.mark.slow
def test_a_transient_guest_is_refused_with_what_to_do(quick: flow.Flow) -> None:
    """Before anything is touched."""
    guest = quick.guest()
    answer = quick.request("POST", f"/servers/{guest.uuid}/action", json={"migrate": {"host": "h2"}})
    assert answer.status_code == 400 and "virsh define" in answer.text
    assert guest.state().split()[0] == "running"


@pytest.mark.slow
def test_a_destination_that_dies_while_a_disk_is_sent_gives_the_guest_back(quick: flow.Flow) -> None:
    """Its daemon is killed under the stream: the guest runs at its source again, and what was begun is removed at the host's return."""
    guest = quick.guest(persistent=True, disk="private", disk_mib=256)
    cold.mark_running(quick, guest, fill_mib=128)
    arriving = cold.image(quick.h2, guest)
    cold.act(quick, guest, "migrate", {"host": "h2"})
    flow.until(lambda: arriving.exists() and arriving.stat().st_blocks * 512 > 8 << 20, "its disk to be on its way", seconds=30)
    quick.h2.kill_libvirtd()

    def is_back() -> bool:
        server = quick.server(guest) or {}
        return (server["status"], server["OS-EXT-STS:task_state"], server["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", None, "h1")

    flow.until(is_back, "the guest to be back", seconds=90)
    (record, *_) = quick.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"]
    assert record["status"] == "failed"
    assert quick.h1.domain_state(guest.name).startswith("running") and cold.has_mark(cold.image(quick.h1, guest))
    quick.h2.start_libvirtd()
    flow.until(lambda: not arriving.exists(), "what was begun to be removed", seconds=60)
    assert guest.where(active_only=False) == ["h1"]
