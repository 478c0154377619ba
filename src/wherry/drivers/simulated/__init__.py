# SPDX-License-Identifier: Apache-2.0
"""The simulated driver: a fleet of hosts, guests, links and faults in one process, for tests, benchmarks and demonstrations."""

from __future__ import annotations

from wherry.drivers.simulated.disturbances import Disturbances
from wherry.drivers.simulated.driver import SimulatedDriver
from wherry.drivers.simulated.fleet import GuestSpec, Host, Store
from wherry.drivers.simulated.world import World

__all__ = ["Disturbances", "GuestSpec", "Host", "SimulatedDriver", "Store", "World"]
