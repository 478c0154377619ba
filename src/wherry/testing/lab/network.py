# SPDX-License-Identifier: Apache-2.0
"""The lab's two networks: a switch with a control and a migration bridge, and each host's link to them.

Must not know what the hosts run.

The switch is a namespace of its own, so the machine's firewall rules do not reach the lab's traffic and nothing of it stays behind.
Each host has two links, because cutting its only one would also cut the control connection.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

from wherry.testing.lab import command, errors, namespace, state

CONTROL = "control"
MIGRATION = "migration"
NETWORKS = (CONTROL, MIGRATION)

#: A bridge without addresses in each host, for guests with a network card.
GUEST_BRIDGE = "lab0"

#: tbf sends this much at once; less than a big segment would make it cut segments.
MIN_BURST_BYTES = 131072
LIMIT_LATENCY_MS = 50


class Switch:
    """The namespace with the two bridges."""

    def __init__(self, record: state.LabRecord) -> None:
        self.record = record
        self.namespace = namespace.Namespace(record.path / "switch", record.run_directory)

    def up(self) -> None:
        """Make the switch and the machine's own link to the control network."""
        self.namespace.directory.mkdir(parents=True, exist_ok=True)
        self.namespace.start(hostname=f"{self.record.name}-switch", binds=[], daemon=[])
        uplink = self.record.uplink
        pid = self.namespace.require_init().pid
        command.run(["ip", "link", "add", uplink, "type", "veth", "peer", "name", "uplink", "netns", str(pid)])
        _batch(
            self.namespace,
            *(f"link add {bridge} type bridge forward_delay 0 mcast_snooping 0" for bridge in NETWORKS),
            *(f"link set {device} up" for device in ("lo", CONTROL, MIGRATION)),
            f"link set uplink master {CONTROL} up",
        )
        command.run(["ip", "addr", "add", f"{self.record.control_address(1)}/24", "dev", uplink])
        command.run(["ip", "link", "set", uplink, "up"])

    def attach(self, host: namespace.Namespace, number: int) -> None:
        """Link a host to both networks."""
        pid = host.require_init().pid
        commands = []
        for network in NETWORKS:
            port = port_name(number, network)
            # The link of a host that was powered off goes with its namespace, a moment after its last process.
            command.run_unchecked(self.namespace.enter(["ip", "link", "del", port], network_only=True))
            # A host that comes back has the hardware it had: with another address its neighbours would talk to the old one for a while.
            hardware = f"0a:57:{self.record.slot:02x}:{NETWORKS.index(network):02x}:00:{number:02x}"
            commands.append(f"link add {port} type veth peer name {network} address {hardware} netns {pid}")
            commands.append(f"link set {port} master {network} up")
        _batch(self.namespace, *commands)
        _batch(
            host,
            f"addr add {self.record.control_address(10 + number)}/24 dev {CONTROL}",
            f"addr add {self.record.migration_address(10 + number)}/24 dev {MIGRATION}",
            f"link add {GUEST_BRIDGE} type bridge forward_delay 0",
            *(f"link set {device} up" for device in ("lo", CONTROL, MIGRATION, GUEST_BRIDGE)),
        )

    def has_netem(self) -> bool:
        """Whether this kernel can delay packets; tried on the switch's loopback, where nothing passes."""
        try:
            self.namespace.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
        except errors.CommandFailed:
            return False
        self.namespace.run(["tc", "qdisc", "del", "dev", "lo", "root"])
        return True

    def delay_uplink(self, delay_ms: float) -> None:
        """Delay what passes between this machine and all hosts, half of it in each direction; needs netem."""
        tool = ["tc", "qdisc", "replace", "dev"]
        tail = ["root", "netem", "delay", f"{delay_ms / 2:g}ms", "limit", "100000"]
        command.run([*tool, self.record.uplink, *tail])
        self.namespace.run([*tool, "uplink", *tail])


@dataclasses.dataclass(frozen=True)
class Link:
    """One host's cable to one network."""

    switch: namespace.Namespace
    host: namespace.Namespace
    #: control or migration: also the name of the device in the host.
    network: str
    #: The device at the switch.
    port: str

    def cut(self) -> None:
        """Pull the cable: packets vanish, connections live on and stall."""
        self.switch.run(["ip", "link", "set", self.port, "down"])

    def restore(self, *, mib_per_s: float = 0) -> None:
        """Plug the cable in again and take limits and delays off, but for this bandwidth; 0 means none."""
        self.shape(mib_per_s=mib_per_s)
        self.switch.run(["ip", "link", "set", self.port, "up"])

    @property
    def is_cut(self) -> bool:
        """Whether the cable is out."""
        (found,) = json.loads(self.switch.run(["ip", "-j", "link", "show", "dev", self.port]))
        return "UP" not in found["flags"]

    def shape(self, *, mib_per_s: float = 0, delay_ms: float = 0) -> None:
        """Set bandwidth and round-trip delay of both directions; 0 means none.

        :raises LabError: a delay is asked for and the kernel has no netem.
        """
        for where, device in ((self.switch, self.port), (self.host, self.network)):
            # Deleting a qdisc that is not there is an error we do not mind.
            command.run_unchecked(where.enter(["tc", "qdisc", "del", "dev", device, "root"], network_only=True))
            parent = ["root", "handle", "1:"]
            if mib_per_s:
                rate = round(mib_per_s * 1048576)
                burst = max(MIN_BURST_BYTES, rate // 100)
                limit = ["rate", f"{rate}bps", "burst", str(burst), "latency", f"{LIMIT_LATENCY_MS}ms"]
                where.run(["tc", "qdisc", "add", "dev", device, *parent, "tbf", *limit])
                parent = ["parent", "1:1", "handle", "10:"]
            if delay_ms:
                try:
                    where.run(["tc", "qdisc", "add", "dev", device, *parent, "netem", "delay", f"{delay_ms / 2:g}ms", "limit", "100000"])
                except errors.CommandFailed as problem:
                    raise errors.LabError(f"this kernel cannot delay packets on a link (netem): {problem.stderr}") from None

    @property
    def shaping(self) -> str:
        """What holds back packets at the switch's port, in tc's words; empty if nothing does."""
        lines = self.switch.run(["tc", "qdisc", "show", "dev", self.port]).splitlines()
        return "; ".join(" ".join(line.split()[1:]) for line in lines if line.split()[1] in {"tbf", "netem"})


class Silence:
    """Drops what a host's libvirtd sends, so that it hears and works but no answer arrives."""

    CHAIN = "wherry-silence"

    def __init__(self, host: namespace.Namespace, port: int) -> None:
        self.host = host
        self.port = port

    def begin(self, towards: str | None = None) -> None:
        """Drop the daemon's packets: all of them, or those to one address. May be called again for another one."""
        if not self.is_on:
            self._iptables("-N", self.CHAIN)
            self._iptables("-A", "OUTPUT", "-j", self.CHAIN)
        only = ["-d", towards] if towards else []
        for side in ("--sport", "--dport"):
            self._iptables("-A", self.CHAIN, *only, "!", "-o", "lo", "-p", "tcp", side, str(self.port), "-j", "DROP")

    def end(self) -> None:
        """Let them pass again."""
        if self.is_on:
            self._iptables("-D", "OUTPUT", "-j", self.CHAIN)
            self._iptables("-F", self.CHAIN)
            self._iptables("-X", self.CHAIN)

    @property
    def is_on(self) -> bool:
        """Whether packets are dropped."""
        return command.run_unchecked(self.host.enter(["iptables", "-w", "-n", "-L", self.CHAIN], network_only=True)).returncode == 0

    def _iptables(self, *words: str) -> None:
        # iptables locks /run/xtables.lock, which -w waits for.
        self.host.run(["iptables", "-w", *words])


def close_migration_sockets(host: namespace.Namespace, own_address: str, peer_address: str | None) -> int:
    """Close the TCP connections of a host's address on the migration network at once; return how many there were.

    A cut link only stalls a post-copy, since TCP retransmits: a closed socket breaks it. Chosen by address and not by port, because
    libvirtd's own connections may have any port.
    """
    peer = ["dst", peer_address] if peer_address else []
    return len(host.run(["ss", "-H", "-t", "-n", "-K", "src", own_address, *peer]).splitlines())


def port_name(number: int, network: str) -> str:
    """Name a host's device at the switch."""
    return f"h{number}-{network}"


def remove_uplink(record: state.LabRecord) -> None:
    """Remove the machine's device on the control network, if it is there."""
    if pathlib.Path(f"/sys/class/net/{record.uplink}").exists():
        command.run_unchecked(["ip", "link", "del", record.uplink])


def _batch(where: namespace.Namespace, *commands: str) -> None:
    where.run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")
