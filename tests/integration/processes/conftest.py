# SPDX-License-Identifier: Apache-2.0
"""Processes as operators start them, on PostgreSQL and nats-server. The hypervisors are simulated ones, inside the one agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from wherry.testing import fleet as fleets
from wherry.testing import postgres_server

#: h1 to h3, and guests whose memory takes half a minute to send, each at h1.
SCENARIO = """
name: processes
stores: {shared: {}}
hosts: [{name: "h{n}", count: 3, link_mib_per_s: 1000, directories: {/var/lib/libvirt/images: shared}}]
guests:
  - {name: "quick-{n}", count: 20, hosts: h1, memory_mib: 64}
  - {name: "slow-{n}", count: 20, hosts: h1, memory_mib: 30000}
"""


class Site:
    """A fleet, and an administrator with an HTTP client."""

    def __init__(self, fleet: fleets.Fleet) -> None:
        self.fleet = fleet
        self._http = httpx.Client(timeout=60, trust_env=False)
        self._servers: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, *, api: int = 0, version: str = "2.104", **keys: Any) -> httpx.Response:
        headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": f"compute {version}"}
        return self._http.request(method, f"{self.fleet.urls[api]}/v2.1{path}", headers=headers, **keys)

    def uuid(self, name: str) -> str:
        """Give the uuid of a guest, once it was discovered."""

        def found() -> str | None:
            listed = self.request("GET", "/servers?all_tenants=1&limit=1000").json().get("servers", [])
            self._servers = {one["name"]: one["id"] for one in listed}
            return self._servers.get(name)

        return self._servers.get(name) or str(fleets.until(found, f"{name} to be discovered"))

    def migrate(self, name: str, *, api: int = 0, version: str = "2.90", host: str | None = "h2") -> httpx.Response:
        body: dict[str, object] = {"host": host, "block_migration": "auto"}
        if version == "2.1":
            body = {"host": host, "block_migration": False, "disk_over_commit": False}
        return self.request("POST", f"/servers/{self.uuid(name)}/action", api=api, version=version, json={"os-migrateLive": body})

    def status(self, name: str) -> str:
        """Give the status of a guest's latest migration, by the database."""
        rows = self.fleet.sql(f"SELECT status FROM migrations WHERE instance_uuid = '{self.uuid(name)}' ORDER BY id DESC LIMIT 1")
        return rows.strip()

    def until_status(self, name: str, status: str, *, seconds: float = 30) -> None:
        fleets.until(lambda: self.status(name) == status, f"{name} to be {status}", seconds=seconds)


@pytest.fixture(scope="session")
def site(
    require_real: Callable[[str, str | None], None], postgresql: postgres_server.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Start two apis, two conductors and an agent. A conductor that dies in them is missed for half a minute."""
    require_real("A fleet of processes", fleets.why_not())
    directory = tmp_path_factory.mktemp("fleet")
    (directory / "scenario.yaml").write_text(SCENARIO)
    options: dict[str, dict[str, object]] = {
        "DEFAULT": {
            "max_concurrent_live_migrations": 0,
            "max_concurrent_incoming_live_migrations": 0,
            "report_interval_seconds": 1,
            "service_down_time_seconds": 5,
            "ram_allocation_ratio": 100,
        },
        "conductor": {"lease_seconds": 30},
        "health": {"probe_timeout_seconds": 1},
    }
    agents = fleets.simulated_agent(scenario_file=directory / "scenario.yaml")
    with fleets.Fleet(directory, agents=agents, apis=2, conductors=2, options=options, postgres=postgresql) as fleet:
        made = Site(fleet)
        yield made
        made.close()
