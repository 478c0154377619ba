# SPDX-License-Identifier: Apache-2.0
"""A guest that writes the header of an image into its raw disk reads nothing of its hosts by being resized."""

from __future__ import annotations

import pytest

from tests.lab import cold, flow

pytestmark = [pytest.mark.lab, pytest.mark.slow]

_SECRET = b"a file of the host's own\n" * 64


@pytest.mark.parametrize("may_stay", [False, True], ids=["elsewhere", "where-it-is"])
def test_a_resize_takes_a_raw_disk_as_raw(start_wherry: flow.StartWherry, *, may_stay: bool) -> None:
    """The disk is what it was and longer, wherever the guest goes; the file that its header names is nowhere in it."""
    wherry = start_wherry(
        DEFAULT={"allow_resize_to_same_host": may_stay},
        conductor={"shutdown_timeout_seconds": 0.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.2},
    )
    guest = wherry.guest(persistent=True, disk="private", disk_mib=64)
    if may_stay:
        for name in ("h2", "h3"):
            service = wherry.get(f"/os-services?host={name}&binary=nova-compute")["services"][0]["id"]
            assert wherry.request("PUT", f"/os-services/{service}", json={"status": "disabled"}).status_code == 200
    secrets = [host.directory / "lib" / "secret" for host in wherry.lab.hosts]
    disk = cold.image(wherry.h1, guest)
    cold.stop(wherry, guest)
    try:
        for secret in secrets:
            secret.write_bytes(_SECRET)
        cold.forge(disk, "/var/lib/libvirt/secret", 64 << 20)
        before = disk.read_bytes()
        cold.act(wherry, guest, "resize", {"flavorRef": "c2-m192-d1"})
        server = flow.until(lambda: cold.waiting(wherry, guest), "it to be resized", seconds=60)
        there = cold.image(wherry.lab.host(server["OS-EXT-SRV-ATTR:host"]), guest)
        assert (there == disk) is may_stay
        with there.open("rb") as file:
            assert file.read(len(before)) == before
            assert not any(file.read()), "what grew is empty"
        assert there.stat().st_size == 1 << 30
    finally:
        for secret in secrets:
            secret.unlink(missing_ok=True)
