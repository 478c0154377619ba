# SPDX-License-Identifier: Apache-2.0
"""One hypervisor host of a lab: its namespaces, its libvirtd, its links, and the ways to break them.

Must not import libvirt: what it wants to know it asks virsh.
"""

from __future__ import annotations

import pathlib
import signal
import subprocess
import uuid

from wherry.testing.lab import command, errors, machine, namespace, network, processes, state

LIBVIRTD_PORT = 16509

#: QEMU receives migrations on ports from here on.
FIRST_MIGRATION_PORT = 49152

START_TIMEOUT_SECONDS = 30.0

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


class Host:
    """One host. Its number counts from 1; its name is h and the number."""

    def __init__(self, record: state.LabRecord, switch: network.Switch, number: int) -> None:
        self.number = number
        self.name = f"h{number}"
        self.control_address = record.control_address(10 + number)
        self.migration_address = record.migration_address(10 + number)
        #: Its own, as libvirt reports it; the same each time a lab of this name comes up.
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"wherry-lab/{record.name}/{self.name}"))
        self.directory = record.path / "hosts" / self.name
        self.namespace = namespace.Namespace(self.directory)
        self.control_link = network.Link(switch.namespace, self.namespace, network.CONTROL, network.port_name(number, network.CONTROL))
        self.migration_link = network.Link(
            switch.namespace, self.namespace, network.MIGRATION, network.port_name(number, network.MIGRATION)
        )
        self._record = record
        self._switch = switch
        self._silence = network.Silence(self.namespace, LIBVIRTD_PORT)

    # ---------------------------------------------------------------- addresses

    @property
    def uri(self) -> str:
        """URI that reaches it from anywhere in the lab and from this machine, without the lab's delay."""
        return f"qemu+tcp://{self.control_address}/system"

    @property
    def control_uri(self) -> str:
        """URI for the control plane: with the lab's delay, where one is set and a relay makes it."""
        if self._record.delay_by == "relay" and self.name in self._record.control_delay_ms:
            return f"qemu+tcp://{self._record.control_address(1)}:{self.relay_port}/system"
        return self.uri

    @property
    def relay_port(self) -> int:
        """Where the relay of this host listens, on this machine's address."""
        return LIBVIRTD_PORT + 1000 + self.number

    @property
    def migration_uri(self) -> str:
        """migrate_uri of migrations to this host."""
        return f"tcp://{self.migration_address}"

    @property
    def private_images(self) -> pathlib.Path:
        """Where PRIVATE_IMAGES of this host is found from outside."""
        return self.directory / "lib" / "images"

    # ---------------------------------------------------------------- up and down

    def up(self) -> None:
        """Make the host and start its libvirtd; return when libvirtd answers."""
        self._write_files()
        places = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "cache": "/var/cache/libvirt"}
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
        """Kill everything on the host at once, as a power cut does; only `up` of the whole lab brings it back."""
        self.namespace.destroy()

    @property
    def is_up(self) -> bool:
        """Whether the host's first process runs."""
        return self.namespace.init is not None

    def _write_files(self) -> None:
        for name in ("etc/qemu", "lib/images", "lib/qemu", "cache"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        log = self.directory / "libvirtd.log"
        (self.directory / "etc" / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=self.uuid, log=log))
        (self.directory / "etc" / "qemu.conf").write_text(QEMU_CONF.format(migration_address=self.migration_address))

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
            if "failed to get domain" in problem.stderr:
                return "absent"
            raise

    def qemu_process(self, name: str) -> processes.Process | None:
        """Return the QEMU process of a domain, by the name that libvirt gave it on its command line."""
        for process in self.namespace.processes():
            if f"guest={name},debug-threads=on" in process.command_line:
                return process
        return None

    # ---------------------------------------------------------------- libvirtd

    @property
    def libvirtd(self) -> processes.Process | None:
        """The libvirtd process, if there is one."""
        return next((process for process in self.namespace.processes() if process.command_line[:1] == [machine.LIBVIRTD]), None)

    def start_libvirtd(self) -> None:
        """Start libvirtd, unless it runs, and return when it answers."""
        self.namespace.start_daemon()
        command.wait_until(
            self._answers, f"libvirtd of {self.name} to answer (see {self.directory}/*.log)", timeout_seconds=START_TIMEOUT_SECONDS
        )

    def kill_libvirtd(self) -> None:
        """SIGKILL libvirtd; guests run on. A migration out of this host is cancelled by it."""
        if daemon := self.libvirtd:
            daemon.kill()

    def stop_libvirtd(self) -> None:
        """SIGSTOP libvirtd: connections stay open and nothing answers."""
        daemon = self._require_libvirtd()
        daemon.send(signal.SIGSTOP)
        command.wait_until(lambda: daemon.is_stopped, f"libvirtd of {self.name} to stop", timeout_seconds=5)

    def continue_libvirtd(self) -> None:
        """SIGCONT libvirtd."""
        self._require_libvirtd().send(signal.SIGCONT)

    def restart_libvirtd(self) -> None:
        """SIGKILL libvirtd and start a new one in the same namespaces; it finds the guests again."""
        self.kill_libvirtd()
        self.start_libvirtd()

    def silence_libvirtd(self, towards: Host | str | None = None) -> None:
        """Drop what libvirtd sends: to everyone, to another host, or to an address."""
        self._silence.begin(towards.control_address if isinstance(towards, Host) else towards)

    def unsilence_libvirtd(self) -> None:
        """Let libvirtd be heard again."""
        self._silence.end()

    @property
    def is_silenced(self) -> bool:
        """Whether libvirtd's packets are dropped."""
        return self._silence.is_on

    def _require_libvirtd(self) -> processes.Process:
        if (daemon := self.libvirtd) is None:
            raise errors.LabError(f"no libvirtd runs on {self.name}: restart it first")
        return daemon

    def _answers(self) -> bool:
        return command.run_unchecked(["virsh", "-q", "-c", self.uri, "uri"]).returncode == 0

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
        return network.close_migration_sockets(self.namespace, address, FIRST_MIGRATION_PORT)

    def heal(self) -> None:
        """Undo every fault: links, silence, a stopped or dead libvirtd."""
        for link in (self.control_link, self.migration_link):
            if link.is_cut or link.shaping:
                link.restore()
        self.unsilence_libvirtd()
        if (daemon := self.libvirtd) is not None and daemon.is_stopped:
            daemon.send(signal.SIGCONT)
        self.start_libvirtd()
