# SPDX-License-Identifier: Apache-2.0
"""Servers made from a real bootable image, from their birth to their end: what the API, the console, libvirt and the files tell."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable, Iterator

import pytest

from tests.lab import births, flow
from wherry.testing import lab as labs
from wherry.testing.lab import network

pytestmark = pytest.mark.lab

#: The image heeds no wish to shut down.
_CONDUCTOR = {"shutdown_timeout_seconds": 0.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.2}


@pytest.fixture
def images(tmp_path: pathlib.Path) -> None:
    """An image named boot."""
    births.add_image(tmp_path)


@pytest.fixture
def wherry(start_wherry: flow.StartWherry, images: None) -> flow.Flow:
    """A Wherry with a flavor named small, whose guests are emulated: nested, the BIOS takes seconds under KVM and a moment without."""
    running = start_wherry(conductor=_CONDUCTOR, libvirt={"virt_type": "qemu", "guest_bridge": network.GUEST_BRIDGE})
    births.add_flavor(running, "small", memory_mib=64)
    return running


def _disk_bytes(host: labs.Host, server: births.Birth) -> int:
    shown = host.exec("qemu-img", "info", "-U", "--output=json", f"{births.GUESTS}/{server.uuid}.qcow2")
    return int(json.loads(shown.stdout)["virtual-size"])


def _memory_mib(host: labs.Host, name: str) -> int:
    found = re.search(r"Max memory:\s+(\d+) KiB", host.virsh("dominfo", name))
    assert found is not None
    return int(found[1]) >> 10


def test_a_server_from_its_birth_to_its_end(wherry: flow.Flow) -> None:
    """Booted, moved live and cold, resized, taken back, resized for good, deleted; what it wrote on its disk comes along each time."""
    births.add_flavor(wherry, "big", memory_mib=96, disk_gib=2)
    before = {host.name: births.files(host) for host in wherry.lab.hosts}
    server = births.Birth(wherry, availability_zone="nova:h1")
    server.until("ACTIVE", "h1")
    server.until_booted(1)
    name = server.name
    assert name in wherry.h1.domains(active_only=True)
    assert _disk_bytes(wherry.h1, server) == 1 << 30, "the disk has the flavor's size"

    server.act("os-migrateLive", {"host": "h2", "block_migration": "auto"})
    server.until("ACTIVE", "h2")
    flow.until(lambda: births.files(wherry.h1) == before["h1"], "its files at the source to go")
    # The count is on the disk, which came along; the console at the destination begins with this boot.
    server.act("reboot", {"type": "HARD"})
    server.until_booted(2)
    server.until("ACTIVE", "h2")

    server.act("suspend")
    server.until("SUSPENDED", "h2")
    assert server.ask("os-migrateLive", {"host": "h1", "block_migration": "auto"}).status_code == 409
    server.act("resume")
    server.until("ACTIVE", "h2")
    server.until_booted(2)  # it goes on where it was

    server.act("migrate", {"host": "h3"})
    server.until("VERIFY_RESIZE", "h3")
    server.until_booted(3)
    server.act("confirmResize")
    server.until("ACTIVE", "h3")
    flow.until(lambda: births.files(wherry.h2) == before["h2"], "its files at the source to go")

    server.act("resize", {"flavorRef": "big"})
    there = wherry.lab.host(server.until("VERIFY_RESIZE")["OS-EXT-SRV-ATTR:host"])
    server.until_booted(4)
    assert (_memory_mib(there, name), _disk_bytes(there, server)) == (96, 2 << 30)
    server.act("revertResize")
    server.until("ACTIVE", "h3")
    # What it wrote there is gone with the other disk: its own begins where it was left.
    server.until_booted(4)
    assert (_memory_mib(wherry.h3, name), _disk_bytes(wherry.h3, server)) == (64, 1 << 30)
    flow.until(lambda: births.files(there) == before[there.name], "what was made for it to go")

    server.act("resize", {"flavorRef": "big"})
    there = wherry.lab.host(server.until("VERIFY_RESIZE")["OS-EXT-SRV-ATTR:host"])
    server.until_booted(5)
    server.act("confirmResize")
    assert server.until("ACTIVE", there.name)["flavor"]["original_name"] == "big"
    assert [host.name for host in wherry.lab.hosts if name in host.domains()] == [there.name]

    server.delete()
    assert {host.name: births.files(host) for host in wherry.lab.hosts} == before
    assert all(name not in host.domains() for host in wherry.lab.hosts)


@pytest.mark.slow
def test_a_server_that_is_deleted_before_its_resize_is_confirmed_leaves_nothing(wherry: flow.Flow) -> None:
    """What its source kept goes, too."""
    births.add_flavor(wherry, "big", memory_mib=96, disk_gib=2)
    before = {host.name: births.files(host) for host in wherry.lab.hosts}
    server = births.Birth(wherry, availability_zone="nova:h1")
    server.until("ACTIVE", "h1")
    server.until_booted(1)
    server.act("resize", {"flavorRef": "big"})
    server.until("VERIFY_RESIZE")
    server.until_booted(2)
    server.delete()
    assert {host.name: births.files(host) for host in wherry.lab.hosts} == before


def _ports(host: labs.Host) -> list[str]:
    """Give the interfaces of guests that hang on the bridge of a host."""
    listed = host.exec("ip", "-o", "link", "show", "master", network.GUEST_BRIDGE)
    return re.findall(r"^\d+: (vnet\d+):.*master", listed.stdout, re.MULTILINE)


def _is_heard(host: labs.Host, mac: str) -> bool:
    """Whether the bridge has learned this address from frames that came from a guest."""
    return f"{mac} dev vnet" in host.exec("bridge", "fdb", "show", "br", network.GUEST_BRIDGE).stdout


@pytest.fixture
def with_bridges(lab: labs.Lab, require_real: Callable[[str, str | None], None]) -> Iterator[None]:
    """Hosts with a bridge for their guests; one that a test removed is made again."""

    def is_there(host: labs.Host) -> bool:
        return host.exec("ip", "link", "show", network.GUEST_BRIDGE).returncode == 0

    missing = [host.name for host in lab.hosts if not is_there(host)]
    require_real("Bridges of hosts", f"none could be made on {', '.join(missing)}" if missing else None)
    yield
    for host in (one for one in lab.hosts if not is_there(one)):
        host.exec("ip", "link", "add", network.GUEST_BRIDGE, "type", "bridge", "forward_delay", "0")
        host.exec("ip", "link", "set", network.GUEST_BRIDGE, "up")


@pytest.mark.slow
def test_a_server_has_its_interface_on_the_configured_bridge_wherever_it_goes(with_bridges: None, wherry: flow.Flow) -> None:
    """Its interface hangs there, at one host at a time; the bridge hears it after it arrived, as a switch must that sends it frames."""
    server = births.Birth(wherry, availability_zone="nova:h1", networks="auto")
    server.until("ACTIVE", "h1")
    (row,) = (line.split() for line in wherry.h1.virsh("domiflist", server.name).splitlines())
    assert (row[1], row[2], row[3]) == ("bridge", network.GUEST_BRIDGE, "virtio")
    mac = row[4]
    assert _ports(wherry.h1) == [row[0]]
    server.until_booted(1)

    server.act("os-migrateLive", {"host": "h2", "block_migration": "auto"})
    server.until("ACTIVE", "h2")
    assert (_ports(wherry.h1), len(_ports(wherry.h2))) == ([], 1)
    flow.until(lambda: _is_heard(wherry.h2, mac), "the bridge to hear the guest")

    server.act("migrate", {"host": "h3"})
    server.until("VERIFY_RESIZE", "h3")
    assert (_ports(wherry.h2), len(_ports(wherry.h3))) == ([], 1)
    assert mac in wherry.h3.virsh("domiflist", server.name), "it is the same card"
    server.delete()
    assert [_ports(host) for host in wherry.lab.hosts] == [[], [], []]


@pytest.mark.slow
def test_a_host_without_the_bridge_makes_no_server_and_is_cleaned(with_bridges: None, wherry: flow.Flow) -> None:
    """The fault names what is missing. A server without a network is made there all the same."""
    before = births.files(wherry.h1)
    assert wherry.h1.exec("ip", "link", "del", network.GUEST_BRIDGE).returncode == 0
    server = births.Birth(wherry, availability_zone="nova:h1", networks="auto")
    flow.until(lambda: server.shown["status"] == "ERROR", "the server to be in error")
    assert network.GUEST_BRIDGE in server.shown["fault"]["message"]
    assert births.files(wherry.h1) == before and wherry.h1.domains() == []
    other = births.Birth(wherry, availability_zone="nova:h1", networks="none")
    other.until("ACTIVE", "h1")
    other.delete()


@pytest.mark.slow
def test_with_what_is_configured_by_default_a_guest_starts_and_moves(start_wherry: flow.StartWherry, images: None) -> None:
    """Under KVM where that works, with the host's CPU; nothing about it was chosen."""
    running = start_wherry(conductor=_CONDUCTOR)
    births.add_flavor(running, "small", memory_mib=64)
    server = births.Birth(running, availability_zone="nova:h1")
    server.until("ACTIVE", "h1")
    assert f"<domain type='{running.lab.accelerator}'" in running.h1.virsh("dumpxml", server.name)
    server.until_booted(1)
    server.act("os-migrateLive", {"host": "h2", "block_migration": "auto"})
    server.until("ACTIVE", "h2")
    server.delete()


@pytest.fixture
def without_kvm(lab: labs.Lab) -> Iterator[labs.Host]:
    """The last host, whose libvirtd finds no KVM."""
    host = lab.hosts[-1]
    kept = "/var/cache/libvirt/qemu/capabilities"

    def restart() -> None:
        # What it found out about QEMU is kept, and not asked again for this.
        host.exec("sh", "-c", f"rm -f {kept}/*")
        host.restart_libvirtd()

    if pathlib.Path("/dev/kvm").exists():
        # A file that may not be written: libvirtd asks again and again about QEMU where it may write one that does not work.
        hide = "mount --bind /etc/hostname /dev/kvm && mount -o remount,bind,ro /dev/kvm"
        assert host.exec("sh", "-c", hide).returncode == 0
    restart()
    yield host
    host.exec("umount", "/dev/kvm")
    restart()


@pytest.mark.slow
def test_with_what_is_configured_by_default_a_guest_starts_where_there_is_no_kvm(
    without_kvm: labs.Host, start_wherry: flow.StartWherry, images: None
) -> None:
    """Emulated."""
    running = start_wherry(conductor=_CONDUCTOR)
    births.add_flavor(running, "small", memory_mib=64)
    server = births.Birth(running, availability_zone=f"nova:{without_kvm.name}")
    server.until("ACTIVE", without_kvm.name)
    assert "<domain type='qemu'" in without_kvm.virsh("dumpxml", server.name)
    server.until_booted(1)
    server.delete()
