# SPDX-License-Identifier: Apache-2.0
"""How the tests of cold migration ask, wait, and look at real disks."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from tests.lab import flow
from wherry.testing import lab as labs
from wherry.testing.lab import command

_PATTERN = bytes(range(256)) * 4096
#: Where the pattern stands a second time, beyond a hole.
_FAR = 40 << 20


def run(*argv: str) -> str:
    """Run a program of QEMU's; give what it printed."""
    return command.run(list(argv))


def image(host: labs.Host, guest: labs.Guest) -> pathlib.Path:
    """Give the path of a guest's own disk on one host."""
    return host.private_images / f"{guest.name}.{guest.spec.disk_format}"


def mark(path: pathlib.Path, disk_format: str = "raw") -> None:
    """Write the pattern where the guest sees it, at the beginning and far behind."""
    for offset in (0, _FAR):
        pattern = path.with_suffix(".pattern")
        pattern.write_bytes(_PATTERN)
        run("qemu-io", "-f", disk_format, "-c", f"write -s {pattern} {offset} {len(_PATTERN)}", str(path))
        pattern.unlink()


def has_mark(path: pathlib.Path, disk_format: str = "raw") -> bool:
    """Say whether the pattern is where it was written, and the hole is one."""
    flat = path.with_suffix(".flat")
    run("qemu-img", "convert", "-U", "-f", disk_format, "-O", "raw", str(path), str(flat))
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


def size(path: pathlib.Path) -> int:
    """Give the size that a guest sees."""
    return int(json.loads(run("qemu-img", "info", "-U", "--output=json", str(path)))["virtual-size"])


def forge(path: pathlib.Path, below: str, length_bytes: int) -> None:
    """Make a raw disk whose guest wrote the header of a whole qcow2 image there, based on this file of its host."""
    header = path.with_suffix(".header")
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", below, "-F", "raw", str(header), str(length_bytes))
    path.write_bytes(header.read_bytes())
    os.truncate(path, length_bytes)
    header.unlink()


def act(running: flow.Flow, guest: labs.Guest, action: str, body: Any = None) -> str:
    """Ask for an action; give its request id."""
    answer = running.request("POST", f"/servers/{guest.uuid}/action", json={action: body})
    assert answer.status_code in (202, 204), answer.text
    return str(answer.headers["x-openstack-request-id"])


def until(running: flow.Flow, guest: labs.Guest, status: str, host: labs.Host, *, seconds: float = 60) -> dict[str, Any]:
    """Wait until the server is so, there; a move that ended otherwise is told at once."""

    def is_there() -> dict[str, Any] | None:
        server = running.server(guest)
        assert server is not None
        migration = running.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"][0]
        assert migration["status"] not in ("error", "failed", "cancelled"), (migration, details(running, guest))
        is_done = (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:task_state"]) == (status, host.name, None)
        return server if is_done else None

    return flow.until(is_there, f"{guest.name} to be {status} at {host.name}", seconds=seconds)


def details(running: flow.Flow, guest: labs.Guest) -> list[Any]:
    """Give the events of the server's last action, the newest first."""
    actions = running.get(f"/servers/{guest.uuid}/os-instance-actions")["instanceActions"]
    found = running.get(f"/servers/{guest.uuid}/os-instance-actions/{actions[0]['request_id']}")
    return list(found["instanceAction"]["events"])


def stop(running: flow.Flow, guest: labs.Guest) -> None:
    """Stop the guest."""
    act(running, guest, "os-stop")
    flow.until(lambda: (running.server(guest) or {}).get("status") == "SHUTOFF", "it to be off")


def moved(running: flow.Flow, guest: labs.Guest, host: labs.Host) -> None:
    """Migrate the guest cold; return when it waits to be confirmed."""
    act(running, guest, "migrate", {"host": host.name})
    until(running, guest, "VERIFY_RESIZE", host)


def mark_running(running: flow.Flow, guest: labs.Guest, *, fill_mib: int = 0) -> None:
    """Write the pattern while the guest is off, and so much more behind it, then have it run."""
    stop(running, guest)
    mark(image(running.h1, guest))
    if fill_mib:
        run("qemu-io", "-f", "raw", "-c", f"write -P 0x5a 64M {fill_mib}M", str(image(running.h1, guest)))
    act(running, guest, "os-start")
    flow.until(lambda: (running.server(guest) or {}).get("status") == "ACTIVE", "it to run")


def waiting(running: flow.Flow, guest: labs.Guest) -> dict[str, Any] | None:
    """Give the server when it waits to be confirmed."""
    migration = running.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"][0]
    assert migration["status"] not in ("error", "failed", "cancelled"), (migration, details(running, guest))
    server = running.server(guest)
    assert server is not None
    return server if (server["status"], server["OS-EXT-STS:task_state"]) == ("VERIFY_RESIZE", None) else None


def vcpus(host: labs.Host, guest: labs.Guest) -> int:
    """Give the vCPUs of its definition."""
    return int(host.virsh("vcpucount", guest.name, "--maximum", "--config"))


def is_autostarted(host: labs.Host, guest: labs.Guest) -> bool:
    """Whether the host starts it by itself."""
    return any("enable" in line for line in host.virsh("dominfo", guest.name).splitlines() if line.startswith("Autostart"))
