# SPDX-License-Identifier: Apache-2.0
"""A host's libvirtd as a process: start, stop, kill and silence it.

Must not ask it about guests.
"""

from __future__ import annotations

import signal

from wherry.testing.lab import command, errors, machine, namespace, network, processes

PORT = 16509
START_TIMEOUT_SECONDS = 30.0
PROBE_TIMEOUT_SECONDS = 5.0


class Libvirtd:
    """The part of a host that is about its libvirtd."""

    def __init__(self, name: str, control_address: str, host_namespace: namespace.Namespace) -> None:
        self.name = name
        self.control_address = control_address
        self.namespace = host_namespace
        #: Libvirt URI that reaches it from anywhere in the lab and from this machine, without the lab's delay.
        self.uri = f"qemu+tcp://{control_address}/system"
        self._silence = network.Silence(host_namespace, PORT)

    @property
    def libvirtd(self) -> processes.Process | None:
        """The libvirtd process, if there is one."""
        return next((process for process in self.namespace.processes() if process.command_line[:1] == [machine.LIBVIRTD]), None)

    @property
    def libvirtd_pid(self) -> int | None:
        """Its pid as this machine counts, or None if there is none."""
        running = self.libvirtd
        return running.pid if running else None

    def start_libvirtd(self) -> None:
        """Start libvirtd, unless it runs, and return when it answers."""
        self.namespace.start_daemon()
        command.wait_until(
            self._answers,
            f"libvirtd of {self.name} to answer (see {self.namespace.directory}/log and daemon.log)",
            timeout_seconds=START_TIMEOUT_SECONDS,
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

    def silence_libvirtd(self, towards: Libvirtd | str | None = None) -> None:
        """Drop what libvirtd sends: to everyone, to another host, or to an address."""
        self._silence.begin(towards.control_address if isinstance(towards, Libvirtd) else towards)

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
        try:
            return command.run_unchecked(["virsh", "-q", "-c", self.uri, "uri"], timeout_seconds=PROBE_TIMEOUT_SECONDS).returncode == 0
        except errors.LabUnavailable:
            raise
        except errors.LabError:
            # A virsh of its own time-out: the next one may fare better.
            return False
