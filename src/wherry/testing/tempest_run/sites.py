# SPDX-License-Identifier: Apache-2.0
"""The hosts on which the suite makes its servers.

Must not choose tests, nor know what they do.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Protocol

from wherry.testing.demo import site

#: A fleet on which a server moves in an instant, with a few guests that nobody made through the API.
_SCENARIO = """
name: tempest
seed: 1
time_factor: 20
hosts:
  - {name: "h{n}", count: 3, vcpus: 64, memory_mib: 65536, link_mib_per_s: 1000}
guests:
  - {name: "found-{n}", count: 3, memory_mib: 512, disks: [{}]}
"""


class Site(Protocol):
    """Hosts, and what Wherry must be told to serve them."""

    def configuration(self, directory: pathlib.Path) -> site.Configuration:
        """Give it, with files in this directory."""
        ...

    @property
    def build_timeout_seconds(self) -> int:
        """How long a server may take to be built or to move."""
        ...


class SimulatedSite:
    """Three simulated hosts."""

    build_timeout_seconds = 30

    def configuration(self, directory: pathlib.Path) -> site.Configuration:
        scenario = directory / "scenario.yaml"
        scenario.write_text(_SCENARIO)
        return {
            "agent": {"driver": "simulated"},
            "simulated": {"scenario_file": str(scenario)},
            "libvirt": {"live_migration_monitor_interval": "1"},
        }


@contextlib.contextmanager
def simulated() -> Iterator[Site]:
    """Give simulated hosts."""
    yield SimulatedSite()
