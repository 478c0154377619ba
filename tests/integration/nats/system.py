# SPDX-License-Identifier: Apache-2.0
"""The whole system in real time on simulated hosts, its messages carried by real nats-servers."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from wherry import clock as clocks
from wherry.cmd import wiring
from wherry.config import bus as config_bus
from wherry.drivers import simulated
from wherry.model import guest
from wherry.rpc import addresses
from wherry.rpc.transports import base
from wherry.testing import cloud as clouds

#: Gives the [bus] of a part.
SectionOf = Callable[[addresses.Sender], config_bus.BusSection]


class NatsCloud(clouds.Cloud):
    """A cloud whose parts meet on nats-servers."""

    def __init__(
        self,
        world: simulated.World,
        directory: pathlib.Path,
        section_of: SectionOf,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(world, directory, clock=clocks.LoopClock(), overrides=overrides)
        self._section_of = section_of

    def make_transport(self, sender: addresses.Sender) -> base.Transport:
        """As in Cloud, on NATS."""
        return wiring.make_transport(dataclasses.replace(self.config, bus=self._section_of(sender)), sender)


def three_hosts() -> simulated.World:
    """Give three hosts with a shared directory and a guest on each: g1 on h1 and so on. Moving one takes some seconds."""
    world = simulated.World(clock=clocks.LoopClock())
    shared = world.add_store(simulated.Store("shared"))
    for number in (1, 2, 3):
        world.add_host(f"h{number}", stores={"/shared": shared}, vcpus=16, memory_mib=65_536)
        disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=f"/shared/g{number}.raw", capacity_bytes=1 << 30)
        world.add_guest(f"h{number}", f"g{number}", memory_mib=1024, vcpus=1, disks=(disk,))
        simulated.Disturbances(world).change_link(f"h{number}", mib_per_s=400.0)
    return world
