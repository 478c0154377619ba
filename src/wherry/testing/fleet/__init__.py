# SPDX-License-Identifier: Apache-2.0
"""Real processes as in production: the programs of Wherry, each from a file of its own, and the servers that they need.

For tests, benchmarks and tempest. Whoever starts something here ends it, and keeps its directory for the logs when it failed.
"""

from __future__ import annotations

from wherry.testing import postgres_server
from wherry.testing.fleet.fleet import Fleet, create_database, drop_database, lab_agents, simulated_agent
from wherry.testing.fleet.nats import Nats, why_unavailable
from wherry.testing.fleet.program import FleetError, Program, free_port, until

__all__ = [
    "Fleet",
    "FleetError",
    "Nats",
    "Program",
    "create_database",
    "drop_database",
    "free_port",
    "lab_agents",
    "simulated_agent",
    "until",
    "why_not",
]


def why_not() -> str | None:
    """Say why no fleet can be started here; None when one can."""
    return postgres_server.why_unavailable() or why_unavailable()
