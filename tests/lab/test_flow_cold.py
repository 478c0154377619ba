# SPDX-License-Identifier: Apache-2.0
"""Cold migration, resize, confirmation and the way back of real guests: what the API, libvirt and the disks themselves tell."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tests.lab import flow
from wherry.testing import lab as labs
from wherry.testing.lab import command

pytestmark = pytest.mark.lab

_PATTERN = bytes(range(256)) * 4096
#: Where the pattern stands a second time, beyond a hole.
_FAR = 40 << 20


@pytest.fixture
def quick(start_wherry: flow.StartWherry) -> flow.Flow:
    """A Wherry that gives guests a moment to shut down: the lab's payloads do not heed ACPI."""
    return start_wherry(
        DEFAULT={"allow_resize_to_same_host": False},
        conductor={"shutdown_timeout_seconds": 0.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.2},
    )


def _run(*argv: str) -> str:
    return command.run(list(argv))


def _image(host: labs.Host, guest: labs.Guest) -> pathlib.Path:
    return host.private_images / f"{guest.name}.{guest.spec.disk_format}"


def _mark(path: pathlib.Path, disk_format: str = "raw") -> None:
    """Write the pattern where the guest sees it, at the beginning and far behind."""
    for offset in (0, _FAR):
        pattern = path.with_suffix(".pattern")
        pattern.write_bytes(_PATTERN)
        _run("qemu-io", "-f", disk_format, "-c", f"write -s {pattern} {offset} {len(_PATTERN)}", str(path))
        pattern.unlink()


def _has_mark(path: pathlib.Path, disk_format: str = "raw") -> bool:
    flat = path.with_suffix(".flat")
    _run("qemu-img", "convert", "-U", "-f", disk_format, "-O", "raw", str(path), str(flat))
    try:
        with flat.open("rb") as file:
            near = file.read(len(_PATTERN))
            file.seek(_FAR)
            far = file.read(len(_PATTERN))
            file.seek(20 << 20)
            hole = file.read(4096)
    finally:
        flat.unlink()
    return near == far == _PATTERN and hole == bytes(4096)


def _size(path: pathlib.Path) -> int:
    return int(json.loads(_run("qemu-img", "info", "-U", "--output=json", str(path)))["virtual-size"])


def _act(running: flow.Flow, guest: labs.Guest, action: str, body: Any = None) -> str:
    """Ask for an action; give its request id."""
    answer = running.request("POST", f"/servers/{guest.uuid}/action", json={action: body})
    assert answer.status_code in (202, 204), answer.text
    return str(answer.headers["x-openstack-request-id"])


def _until(running: flow.Flow, guest: labs.Guest, status: str, host: labs.Host, *, seconds: float = 60) -> dict[str, Any]:
    def is_there() -> dict[str, Any] | None:
        server = running.server(guest)
        assert server is not None
        migration = running.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"][0]
        assert migration["status"] not in ("error", "failed", "cancelled"), (migration, _details(running, guest))
        is_done = (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:task_state"]) == (status, host.name, None)
        return server if is_done else None

    return flow.until(is_there, f"{guest.name} to be {status} at {host.name}", seconds=seconds)


def _details(running: flow.Flow, guest: labs.Guest) -> list[Any]:
    actions = running.get(f"/servers/{guest.uuid}/os-instance-actions")["instanceActions"]
    found = running.get(f"/servers/{guest.uuid}/os-instance-actions/{actions[0]['request_id']}")
    return list(found["instanceAction"]["events"])


def _stop(running: flow.Flow, guest: labs.Guest) -> None:
    _act(running, guest, "os-stop")
    flow.until(lambda: (running.server(guest) or {}).get("status") == "SHUTOFF", "it to be off")


def _moved(running: flow.Flow, guest: labs.Guest, host: labs.Host) -> None:
    _act(running, guest, "migrate", {"host": host.name})
    _until(running, guest, "VERIFY_RESIZE", host)


@pytest.mark.slow
def test_a_guest_with_a_disk_of_its_own_goes_there_and_on_and_back(quick: flow.Flow) -> None:
    """The pattern on its disk is intact at each stage; a copy that Wherry made goes with the guest, the one that was found stays."""
    guest = quick.guest(persistent=True, disk="private", disk_mib=64)
    quick.h1.virsh("autostart", guest.name)
    _mark_running(quick, guest)

    _moved(quick, guest, quick.h2)
    assert quick.h1.domain_state(guest.name).startswith("shut off")
    assert quick.h2.domain_state(guest.name).startswith("running")
    assert not _is_autostarted(quick.h1, guest) and _is_autostarted(quick.h2, guest)
    assert _has_mark(_image(quick.h2, guest))
    guest.wait_for_payload(quick.h2)
    told = [(event["event"], event["host"], event["result"]) for event in reversed(_details(quick, guest))]
    assert told == [
        ("conductor_migrate_server", "control", "Success"),
        ("cold_migrate", "control", "Success"),
        ("compute_prep_resize", "h2", "Success"),
        ("compute_resize_instance", "h1", "Success"),
        ("compute_finish_resize", "h2", "Success"),
    ]

    _act(quick, guest, "confirmResize")
    _until(quick, guest, "ACTIVE", quick.h2)
    assert guest.name not in quick.h1.domains(active_only=False)
    assert _has_mark(_image(quick.h1, guest)), "it was found there, so it is nobody's to delete"
    (event,) = _details(quick, guest)
    assert "Kept on h1" in event["details"]

    _moved(quick, guest, quick.h3)
    _act(quick, guest, "revertResize")
    _until(quick, guest, "ACTIVE", quick.h2)
    assert guest.where(active_only=False) == ["h2"]
    assert not _image(quick.h3, guest).exists()
    assert _has_mark(_image(quick.h2, guest)) and _is_autostarted(quick.h2, guest)

    _moved(quick, guest, quick.h3)
    _act(quick, guest, "confirmResize")
    _until(quick, guest, "ACTIVE", quick.h3)
    assert guest.where(active_only=False) == ["h3"]
    assert _has_mark(_image(quick.h3, guest))
    assert not _image(quick.h2, guest).exists(), "Wherry made it, so it went with the guest"


def test_a_resized_guest_has_its_new_size_and_goes_back_to_the_old_one(quick: flow.Flow) -> None:
    """Memory, vCPUs and the disk's end, which grew; the source's disk is as long as it was, and its content as it was."""
    guest = quick.guest(persistent=True, disk="private", disk_format="qcow2", disk_mib=64, memory_mib=128)
    _stop(quick, guest)
    _mark(_image(quick.h1, guest), "qcow2")
    _act(quick, guest, "os-start")
    flow.until(lambda: (quick.server(guest) or {}).get("status") == "ACTIVE", "it to run")

    _act(quick, guest, "resize", {"flavorRef": "c2-m192-d1"})
    server = flow.until(lambda: _waiting(quick, guest), "it to be resized", seconds=60)
    there = quick.lab.host(server["OS-EXT-SRV-ATTR:host"])
    assert there is not quick.h1
    assert (server["flavor"]["ram"], server["flavor"]["vcpus"], server["flavor"]["disk"]) == (192, 2, 1)
    information = there.virsh("dominfo", guest.name)
    assert "196608 KiB" in information and _vcpus(there, guest) == 2
    assert _size(_image(there, guest)) == 1 << 30
    assert _has_mark(_image(there, guest), "qcow2")
    guest.wait_for_payload(there)

    _act(quick, guest, "revertResize")
    server = _until(quick, guest, "ACTIVE", quick.h1)
    assert (server["flavor"]["ram"], server["flavor"]["vcpus"]) == (128, 1)
    assert _vcpus(quick.h1, guest) == 1 and guest.where(active_only=False) == ["h1"]
    assert _size(_image(quick.h1, guest)) == 64 << 20
    assert _has_mark(_image(quick.h1, guest), "qcow2")
    assert not _image(there, guest).exists()

    _act(quick, guest, "resize", {"flavorRef": "c2-m192-d1"})
    server = flow.until(lambda: _waiting(quick, guest), "it to be resized again", seconds=60)
    there = quick.lab.host(server["OS-EXT-SRV-ATTR:host"])
    _act(quick, guest, "confirmResize")
    _until(quick, guest, "ACTIVE", there)
    assert _has_mark(_image(there, guest), "qcow2") and _vcpus(there, guest) == 2


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [False, True], ids=["flattened", "on-its-base"])
def test_an_overlay_goes_with_what_is_below_it(quick: flow.Flow, is_there: bool) -> None:
    """As one image where its base is not at the destination, as it is where the same one is; the guest sees the same disk."""
    base = quick.h1.private_images / "base.qcow2"
    others = [host.private_images / "base.qcow2" for host in (quick.h2, quick.h3)]
    guest = quick.guest(persistent=True, disk="private", disk_format="qcow2", disk_mib=64)
    try:
        _stop(quick, guest)
        _run("qemu-img", "create", "-f", "qcow2", str(base), "64M")
        _mark(base, "qcow2")
        image = _image(quick.h1, guest)
        image.unlink()
        _run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", str(image), "64M")
        _run("qemu-io", "-f", "qcow2", "-c", "write -P 7 30M 1M", str(image))
        if is_there:
            for other in others:
                other.write_bytes(base.read_bytes())
        _act(quick, guest, "os-start")
        flow.until(lambda: (quick.server(guest) or {}).get("status") == "ACTIVE", "it to run")
        before = sorted(path.name for path in quick.h1.private_images.iterdir())
        _moved(quick, guest, quick.h2)
        arrived = _image(quick.h2, guest)
        below = json.loads(_run("qemu-img", "info", "-U", "--output=json", str(arrived))).get("backing-filename", "")
        assert bool(below) is is_there
        assert _has_mark(arrived, "qcow2")
        _run("qemu-img", "compare", "-U", str(image), str(arrived))
        assert sorted(path.name for path in quick.h1.private_images.iterdir()) == before, "nothing is left of the flattening"
        _act(quick, guest, "revertResize")
        _until(quick, guest, "ACTIVE", quick.h1)
        assert not arrived.exists() and _has_mark(image, "qcow2")
    finally:
        for path in (base, *others):
            path.unlink(missing_ok=True)


@pytest.mark.slow
def test_a_guest_on_shared_storage_that_is_off_stays_off(quick: flow.Flow) -> None:
    """Nothing is sent, and neither the move nor the way back starts it."""
    guest = quick.guest(persistent=True, disk="shared", disk_mib=64)
    _stop(quick, guest)
    disk = quick.lab.shared_directory / f"{guest.name}.raw"
    _mark(disk)
    _moved(quick, guest, quick.h2)
    assert quick.h2.domain_state(guest.name).startswith("shut off")
    _act(quick, guest, "revertResize")
    _until(quick, guest, "SHUTOFF", quick.h1)
    _moved(quick, guest, quick.h3)
    _act(quick, guest, "confirmResize")
    _until(quick, guest, "SHUTOFF", quick.h3)
    assert guest.where(active_only=False) == ["h3"] and _has_mark(disk)


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
    _mark_running(running, guest)
    _act(running, guest, "resize", {"flavorRef": "c2-m192-d1"})
    _until(running, guest, "VERIFY_RESIZE", running.h1)
    assert (_vcpus(running.h1, guest), _size(_image(running.h1, guest))) == (2, 1 << 30)
    _act(running, guest, "revertResize")
    _until(running, guest, "ACTIVE", running.h1)
    assert _vcpus(running.h1, guest) == 1 and _has_mark(_image(running.h1, guest))


def test_a_transient_guest_is_refused_with_what_to_do(quick: flow.Flow) -> None:
    """Before anything is touched."""
    guest = quick.guest()
    answer = quick.request("POST", f"/servers/{guest.uuid}/action", json={"migrate": {"host": "h2"}})
    assert answer.status_code == 400 and "virsh define" in answer.text
    assert guest.state().split()[0] == "running"


def _mark_running(running: flow.Flow, guest: labs.Guest) -> None:
    """Write the pattern while the guest is off, then have it run."""
    _stop(running, guest)
    _mark(_image(running.h1, guest))
    _act(running, guest, "os-start")
    flow.until(lambda: (running.server(guest) or {}).get("status") == "ACTIVE", "it to run")


def _waiting(running: flow.Flow, guest: labs.Guest) -> dict[str, Any] | None:
    migration = running.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"][0]
    assert migration["status"] not in ("error", "failed", "cancelled"), (migration, _details(running, guest))
    server = running.server(guest)
    assert server is not None
    return server if (server["status"], server["OS-EXT-STS:task_state"]) == ("VERIFY_RESIZE", None) else None


def _vcpus(host: labs.Host, guest: labs.Guest) -> int:
    return int(host.virsh("vcpucount", guest.name, "--maximum", "--config"))


def _is_autostarted(host: labs.Host, guest: labs.Guest) -> bool:
    return any("enable" in line for line in host.virsh("dominfo", guest.name).splitlines() if line.startswith("Autostart"))
