# SPDX-License-Identifier: Apache-2.0
"""The simulated driver: a fleet of hosts, guests, links and faults in one process, for tests, benchmarks and demonstrations.

Tests build a `World` in code or from a `Scenario` and give it to driver objects; the product names a scenario file in [simulated].
"""

from __future__ import annotations

import urllib.parse

from wherry import clock as wherry_clock
from wherry import errors
from wherry.config import simulated as section_module
from wherry.drivers import base
from wherry.drivers.simulated import building, scenario
from wherry.drivers.simulated.disturbances import LOST_REPLY_SECONDS, Disturbances
from wherry.drivers.simulated.driver import SimulatedDriver
from wherry.drivers.simulated.faults import CallFault, FaultKind, When
from wherry.drivers.simulated.fleet import Daemon, GuestSpec, Host, Store
from wherry.drivers.simulated.profiles import PROFILES, Profile
from wherry.drivers.simulated.world import World

__all__ = [
    "World",
    "SimulatedDriver",
    "Disturbances",
    "LOST_REPLY_SECONDS",
    "CallFault",
    "FaultKind",
    "When",
    "GuestSpec",
    "Host",
    "Store",
    "Daemon",
    "Profile",
    "PROFILES",
    "Worlds",
    "WORLDS",
    "driver",
    "hosts",
]


class Worlds:
    """Worlds by scenario file: the driver objects of one process must share theirs."""

    def __init__(self) -> None:
        self._worlds: dict[str, World] = {}

    def get(self, section: section_module.SimulatedSection, clock: wherry_clock.Clock) -> World:
        """Give the world of the section's scenario, made at the first call.

        :raises ConfigInvalid: when the scenario cannot be used.
        """
        key = section.scenario_file or scenario.DEFAULT_SCENARIO
        if key not in self._worlds:
            wanted = scenario.load(section.scenario_file)
            self._worlds[key] = building.build(wanted, clock, time_factor=section.time_factor, where=key)
        return self._worlds[key]

    def add(self, scenario_file: str, world: World) -> None:
        """Let a world made in code stand for a scenario file."""
        self._worlds[scenario_file] = world

    def clear(self) -> None:
        """Forget all; the next driver gets a new world."""
        self._worlds.clear()


#: The worlds of this process. A registry of its own kind would need every caller of a driver factory to carry it along.
WORLDS = Worlds()


def driver(settings: base.HostSettings, section: object, clock: wherry_clock.Clock) -> base.HypervisorDriver:
    """Make the driver of the host that `settings.connection_uri` names: simulated://WORLD/HOST.

    :raises ConfigInvalid: when the scenario has no such world or host.
    """
    if not isinstance(section, section_module.SimulatedSection):
        raise TypeError(f"the simulated driver needs its own section, not {type(section).__name__}")
    world = WORLDS.get(section, clock)
    uri = urllib.parse.urlsplit(settings.connection_uri)
    if uri.scheme != "simulated" or uri.netloc != world.name or uri.path.removeprefix("/") not in world.hosts:
        raise errors.ConfigInvalid(
            where=f"[agent] hosts: {settings.name}={settings.connection_uri}",
            problem="the scenario has no such host",
            instead=f"Write for example {settings.name}={world.uri(next(iter(world.hosts)))}.",
        )
    return SimulatedDriver(world, settings)


def hosts(section: section_module.SimulatedSection) -> list[base.HostSettings]:
    """Give the settings of every host of the section's scenario, for a process that is to serve them all."""
    wanted = scenario.load(section.scenario_file)
    return [base.HostSettings(name=name, connection_uri=f"simulated://{wanted.name}/{name}") for name in building.host_names(wanted)]
