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

    def describe(self) -> Sequence[str]:
        chosen = scenario.load(None)
        hosts = sum(part.count for part in chosen.hosts)
        guests = sum(part.count for part in chosen.guests)
        return (f"fleet    scenario {chosen.name!r}: {hosts} simulated hosts, {guests} simulated guests",)

    def configuration(self) -> site.Configuration:
        return {
            "agent": {"driver": "simulated"},
            "libvirt": {"live_migration_monitor_interval": "1"},
        }

    def look(self, guest: str, hosts: Sequence[str]) -> Sequence[site.Sighting]:
        return []

    def check_memory(self, guest: str) -> str:
        return ""
