# SPDX-License-Identifier: Apache-2.0
"""A host whose consoles virtlogd writes, as libvirt has it by default: what it keeps of them is read, and goes where the guest goes."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.lab import births, flow
from wherry.testing import lab as labs
from wherry.testing.lab import command

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: Debian has it with libvirtd, in libvirt-daemon.
_VIRTLOGD = "/usr/sbin/virtlogd"
#: So that the 48 bytes of each boot fill several.
_MOST_BYTES = 14
_KEPT = 3


@pytest.fixture
def logging_host(lab: labs.Lab, require_real: Callable[[str, str | None], None]) -> Iterator[labs.Host]:
    """h1 with a virtlogd that keeps very little in one file."""
    require_real("virtlogd", None if pathlib.Path(_VIRTLOGD).exists() else f"there is no {_VIRTLOGD}")
    host = lab.host("h1")
    settings, own = host.directory / "etc" / "qemu.conf", host.directory / "etc" / "virtlogd.conf"
    before = settings.read_text()
    settings.write_text(before.replace('stdio_handler = "file"', 'stdio_handler = "logd"'))
    own.write_text(f"max_size = {_MOST_BYTES}\nmax_backups = {_KEPT}\nmax_clients = 32\n")
    assert host.exec(_VIRTLOGD, "-d").returncode == 0
    (daemon,) = [process for process in host.namespace.processes() if process.command_line[:1] == [_VIRTLOGD]]
    host.restart_libvirtd()
    yield host
    settings.write_text(before)
    own.unlink()
    daemon.send(signal.SIGTERM)
    host.restart_libvirtd()


def _kept(host: labs.Host, server: births.Birth) -> list[str]:
    return sorted(pathlib.PurePath(path).name for path in births.files(host) if f"{server.uuid}.console.log." in path)


def test_what_was_rolled_is_read_and_leaves_nothing_behind(
    logging_host: labs.Host, start_wherry: flow.StartWherry, tmp_path: pathlib.Path
) -> None:
    """At both ways to leave the host: cold and live."""
    births.add_image(tmp_path)
    running = start_wherry(
        conductor={"shutdown_timeout_seconds": 0.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.2},
        libvirt={"virt_type": "qemu"},
    )
    births.add_flavor(running, "small", memory_mib=64)
    before = {host.name: births.files(host) for host in running.lab.hosts}
    server = births.Birth(running, availability_zone="nova:h1")
    server.until("ACTIVE", "h1")
    server.until_booted(1)
    command.wait_until(lambda: len(_kept(logging_host, server)) == _KEPT, "its console to be rolled", timeout_seconds=20)
    newest = (logging_host.private_images / f"{server.uuid}.console.log").stat().st_size
    assert len(server.console()) > newest, "what is shown is more than what stands in the newest file"

    server.act("migrate", {"host": "h2"})
    server.until("VERIFY_RESIZE", "h2")
    server.act("confirmResize")
    server.until("ACTIVE", "h2")
    assert births.files(logging_host) == before["h1"]

    server.act("os-migrateLive", {"host": "h1", "block_migration": "auto"})
    server.until("ACTIVE", "h1")
    server.act("reboot", {"type": "HARD"})
    command.wait_until(lambda: len(_kept(logging_host, server)) == _KEPT, "its console to be rolled again", timeout_seconds=60)
    server.until("ACTIVE", "h1")
    server.act("os-migrateLive", {"host": "h2", "block_migration": "auto"})
    server.until("ACTIVE", "h2")
    flow.until(lambda: births.files(logging_host) == before["h1"], "its files at the source to go")
    server.delete()
    assert {host.name: births.files(host) for host in running.lab.hosts} == before
