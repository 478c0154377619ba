# SPDX-License-Identifier: Apache-2.0
"""One hypervisor host of a lab: its namespaces, its libvirtd, its links, and the ways to break them.

Must not import libvirt: what it wants to know it asks virsh.
"""

from __future__ import annotations

import pathlib
import signal
import subprocess
import uuid

from wherry.testing.lab import command, daemon, errors, machine, namespace, network, processes, state

#: A directory of the host's own at the same path on each: for disks that are not shared.
PRIVATE_IMAGES = "/var/lib/libvirt/images"

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
log_outputs = "2:file:{log}"
"""

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
migration_address = "0.0.0.0"
migration_host = "{migration_address}"
stdio_handler = "file"
"""


class Host(daemon.Libvirtd):
    """One host. Its number counts from 1; its name is h and the number."""

    def __init__(self, record: state.LabRecord, switch: network.Switch, number: int) -> None:
        self.number = number
        self.directory = record.path / "hosts" / f"h{number}"
        super().__init__(
            self.directory.name, record.control_address(10 + number), namespace.Namespace(self.directory, record.run_directory)
        )
        self.migration_address = record.migration_address(10 + number)
        #: The migrate_uri of migrations to this host; libvirt's own default here, too.
        self.migration_uri = f"tcp://{self.migration_address}"
        #: Its own, as libvirt reports it; the same each time a lab of this name comes up.
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"wherry-lab/{record.name}/{self.name}"))
        #: Where PRIVATE_IMAGES of this host is found from outside.
        self.private_images = self.directory / "lib" / "images"
        #: Where the relay of this host listens, on this machine's address.
        self.relay_port = daemon.PORT + 1000 + number
        links = {name: network.Link(switch.namespace, self.namespace, name, network.port_name(number, name)) for name in network.NETWORKS}
        self.control_link, self.migration_link = links[network.CONTROL], links[network.MIGRATION]
        self._record = record
        self._switch = switch

    # ---------------------------------------------------------------- addresses

    @property
    def control_uri(self) -> str:
        """URI for the control plane: with the lab's delay, where one is set and a relay makes it."""
        if self._record.delay_by == "relay" and self.name in self._record.control_delay_ms:
            return f"qemu+tcp://{self._record.control_address(1)}:{self.relay_port}/system"
        return self.uri

    # ---------------------------------------------------------------- up and down

    def up(self) -> None:
        """Make the host and start its libvirtd; return when libvirtd answers."""
        self._write_files()
        places = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "cache": "/var/cache/libvirt", "log": "/var/log/libvirt"}
        binds = [(self.directory / name, where) for name, where in places.items()]
        binds.append((self._record.path / "hosts" / "hosts", "/etc/hosts"))
        for place in places.values():
            pathlib.Path(place).mkdir(parents=True, exist_ok=True)
        self.namespace.start(hostname=self.name, binds=binds, daemon=[machine.LIBVIRTD, "--listen"])
        self._switch.attach(self.namespace, self.number)
        self.start_libvirtd()
        # libvirtd finds out what QEMU can do when it is first asked (0.6 s); asked now, no first guest or migration pays for it.
        self.virsh("domcapabilities")

    def power_off(self) -> None:
        """Kill everything on the host at once, as a power cut does; `up` brings it back with its definitions and disks."""
        self.namespace.destroy()

    @property
    def is_up(self) -> bool:
        """Whether the host's first process runs."""
        return self.namespace.init is not None

    def _write_files(self) -> None:
        for name in ("etc/qemu", "lib/images", "lib/qemu", "cache", "log/qemu"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        log = self.directory / "log" / "libvirtd.log"
        (self.directory / "etc" / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=self.uuid, log=log))
        qemu_conf = QEMU_CONF.format(migration_address=self.migration_address)
        if (silence := self._record.peer_silence_seconds) is not None:
            qemu_conf += f"keepalive_interval = {silence // 3}\nkeepalive_count = 2\n"
        (self.directory / "etc" / "qemu.conf").write_text(qemu_conf)

    # ---------------------------------------------------------------- programs

    def exec(self, *argv: str, timeout_seconds: float = command.DEFAULT_TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a program on the host, whatever its status."""
        return self.namespace.execute(list(argv), timeout_seconds=timeout_seconds)

    def virsh(self, *words: str, stdin: str = "", timeout_seconds: float = command.DEFAULT_TIMEOUT_SECONDS) -> str:
        """Run virsh against this host and return what it printed.

        Past a delay, but not past a cut control link or a stopped libvirtd.
        """
        # Keep-alive probes end virsh soon after libvirtd stops answering; without them it would wait for its time-out.
        return command.run(["virsh", "-q", "-k", "5", "-K", "3", "-c", self.uri, *words], stdin=stdin, timeout_seconds=timeout_seconds)

    def domains(self, *, active_only: bool = False) -> list[str]:
        """Return the names of the domains here."""
        words = ["list", "--name"] if active_only else ["list", "--name", "--all"]
        return self.virsh(*words).split()

    def domain_state(self, name: str) -> str:
        """Return libvirt's word for the domain's state, with the reason: "running (booted)"; "absent" if there is none."""
        try:
            return self.virsh("domstate", name, "--reason").strip()
        except errors.CommandFailed as problem:
            # The latter when it went while it was looked at.
            if "failed to get domain" in problem.stderr or "Domain not found" in problem.stderr:
                return "absent"
            raise

    def qemu_process(self, name: str) -> processes.Process | None:
        """Return the QEMU process of a domain, by the name that libvirt gave it on its command line."""
        for process in self.namespace.processes():
            if f"guest={name},debug-threads=on" in process.command_line:
                return process
        return None

    # ---------------------------------------------------------------- links

    def link(self, name: str) -> network.Link:
        """Return the host's link to a network, control or migration."""
        return {network.CONTROL: self.control_link, network.MIGRATION: self.migration_link}[name]

    def cut_migration_link(self) -> None:
        """Pull the cable of the migration network: the copy stalls, the control connection lives."""
        self.migration_link.cut()

    def restore_migration_link(self) -> None:
        """Plug it in again, without limits."""
        self.migration_link.restore()

    def break_migration_sockets(self, towards: Host | str | None = None) -> int:
        """Close QEMU's migration connections at once; return how many."""
        address = towards.migration_address if isinstance(towards, Host) else towards
        return network.close_migration_sockets(self.namespace, self.migration_address, address)

    def heal(self) -> None:
        """Undo every fault: links, silence, a stopped or dead libvirtd."""
        for link in (self.control_link, self.migration_link):
            if link.is_cut or link.shaping:
                link.restore()
        self.unsilence_libvirtd()
        if (running := self.libvirtd) is not None and running.is_stopped:
            running.send(signal.SIGCONT)
        self.start_libvirtd()
