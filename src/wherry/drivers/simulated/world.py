# SPDX-License-Identifier: Apache-2.0
"""The simulated fleet of one process: hosts, guests, storage and the transfers between them.

Shared by the driver objects of all its hosts; has no opinion on what they should do. What goes wrong in it is in `disturbances`.
"""

from __future__ import annotations

import ipaddress
import posixpath
import uuid
from collections.abc import Iterable
from typing import Any

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers.simulated import copying, faults, fleet, network, timeline
from wherry.model import guest

#: Root of the uuids that are made from names.
_NAMESPACE = uuid.UUID("6f0e1c5a-6f3b-4b0a-9d0e-2b7f5a1c9e42")


#: Of the range that is set aside for benchmarks of networks: 198.18.0.0/15.
_FIRST_ADDRESS = ipaddress.IPv4Address("198.18.0.1")


class World:
    """One simulated fleet.

    :param name: as in the connection URI simulated://NAME/HOST.
    :param seed: from which uuids are made; the same seed and names give the same fleet.
    :param time_factor: simulated seconds in one second of the clock.
    :param is_instant: whether transfers take no time, for measuring everything else.
    :param core_mib_per_s: bandwidth of a link that every transfer crosses; None = there is none.
    :param call_timeout_seconds: how long a call waits for a hypervisor that does not answer, in simulated seconds.
    :param call_seconds: how long every call takes, in simulated seconds.
    """

    def __init__(  # noqa: PLR0913 (named settings of one fleet, each with a default)
        self,
        name: str = "world",
        *,
        clock: wherry_clock.Clock | None = None,
        seed: int = 0,
        time_factor: float = 1.0,
        is_instant: bool = False,
        core_mib_per_s: float | None = None,
        call_timeout_seconds: float = 30.0,
        call_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.seed = seed
        self.call_timeout_seconds = call_timeout_seconds
        self.call_seconds = call_seconds
        self.time = timeline.Timeline(clock or wherry_clock.LoopClock(), time_factor)
        self.core = network.Link("core", core_mib_per_s) if core_mib_per_s is not None else None
        self.hosts: dict[str, fleet.Host] = {}
        self.stores: dict[str, fleet.Store] = {}
        self.copying = copying.Copying(self.time, self.core, is_instant=is_instant)
        self.faults = faults.FaultList()

    # ---------------------------------------------------------------- building

    def uuid_for(self, kind: str, name: str) -> str:
        """Make the uuid that this world gives to something of that name."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.name}/{self.seed}/{kind}/{name}"))

    def add_store(self, store: fleet.Store) -> fleet.Store:
        """Add storage that several hosts may mount."""
        self.stores[store.name] = store
        return store

    def add_host(
        self,
        name: str,
        *,
        stores: dict[str, fleet.Store] | None = None,
        link_mib_per_s: float = fleet.DEFAULT_LINK_MIB_PER_S,
        latency_seconds: float = 0.0002,
        **fields: Any,
    ) -> fleet.Host:
        """Add a host; further fields are those of `fleet.Host`.

        Without `stores` it has a file system of its own at `fleet.DEFAULT_DIRECTORY`.
        """
        if name in self.hosts:
            raise ValueError(f"the world {self.name} has a host {name} already")
        host = fleet.Host(
            name=name,
            hypervisor_uuid=self.uuid_for("host", name),
            address=str(_FIRST_ADDRESS + len(self.hosts)),
            uplink=network.Link(f"{name}:up", link_mib_per_s, latency_seconds),
            downlink=network.Link(f"{name}:down", link_mib_per_s, latency_seconds),
            stores=stores if stores is not None else {fleet.DEFAULT_DIRECTORY: fleet.Store(f"{name}:disk")},
            **fields,
        )
        self.hosts[name] = host
        return host

    def add_guest(self, host_name: str, name: str, *, state: guest.GuestState = guest.GuestState.RUNNING, **fields: Any) -> fleet.GuestSpec:
        """Start a guest on a host; further fields are those of `fleet.GuestSpec`. Its disks become files there."""
        host = self.hosts[host_name]
        fields.setdefault("hypervisor_type", host.profile.supported_types[0])
        spec = fleet.GuestSpec(uuid=fields.pop("uuid", None) or self.uuid_for("guest", name), name=name, **fields)
        for disk in spec.disks:
            store = host.store_of(disk.source) if disk.kind is guest.DiskKind.FILE and disk.source else None
            if store is not None:
                size = disk.allocation_bytes or disk.capacity_bytes
                store.add(posixpath.basename(disk.source), size, content=f"{spec.uuid} {disk.name}")
        host.guests[spec.uuid] = fleet.Guest(spec, state)
        return spec

    # ----------------------------------------------------------------- looking

    def host(self, name: str) -> fleet.Host:
        """Give a host.

        :raises HypervisorUnavailable: when the world has none of that name.
        """
        found = self.hosts.get(name)
        if found is None:
            raise errors.HypervisorUnavailable(host=name, detail=f"the simulated fleet {self.name} has no such host")
        return found

    def hosts_of(self, instance_uuid: str) -> Iterable[fleet.Host]:
        """Give the hosts that have the guest, in whatever state."""
        return [host for host in self.hosts.values() if instance_uuid in host.guests]

    def uri(self, host_name: str) -> str:
        """Give the connection URI of a host."""
        return f"simulated://{self.name}/{host_name}"

    def host_at(self, uri: str) -> fleet.Host | None:
        """Give the host behind a connection URI; None where it is not one of this world."""
        name = uri.removeprefix(f"simulated://{self.name}/")
        return None if name == uri else self.hosts.get(name)
