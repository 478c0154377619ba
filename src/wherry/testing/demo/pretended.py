# SPDX-License-Identifier: Apache-2.0
"""The demo's site where there can be no real guests: a fleet that the simulated driver pretends.

Must not offer proof: there is no hypervisor to ask.
"""

from __future__ import annotations

from collections.abc import Sequence

from wherry.drivers.simulated import scenario
from wherry.testing.demo import site


class PretendedSite:
    """The scenario that ships with the simulated driver."""

    calm, busy = "idle-1", "restless"

    def __init__(self, time_factor: float = 1.0) -> None:
        self._time_factor = time_factor
        #: Of the simulated guest's time, as far as whole seconds allow.
        self.budget_seconds = max(1, round(5 / time_factor))
        self._scenario = scenario.load(None)
        self.host_count = sum(part.count for part in self._scenario.hosts)

    def describe(self) -> Sequence[str]:
        guests = sum(part.count for part in self._scenario.guests)
        return (f"fleet    scenario {self._scenario.name!r}: {self.host_count} simulated hosts, {guests} simulated guests",)

    def configuration(self) -> site.Configuration:
        return {
            "agent": {"driver": "simulated"},
            "simulated": {"time_factor": str(self._time_factor)},
            "libvirt": {"live_migration_monitor_interval": "1"},
        }

    def look(self, guest: str, hosts: Sequence[str]) -> Sequence[site.Sighting]:
        return []

    def check_memory(self, guest: str) -> str:
        return ""
