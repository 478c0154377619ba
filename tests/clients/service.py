# SPDX-License-Identifier: Apache-2.0
"""`wherry all-in-one` as a process of its own on a simulated fleet, for clients that know nothing but its address.

The truth that tests assert comes from here, by plain HTTP, never from the client under test.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

START_SECONDS = 60.0
STOP_SECONDS = 15.0
#: Longest time that any single thing may take on this fleet.
WAIT_SECONDS = 20.0

#: Statuses in which nothing more happens.
ENDED = ("completed", "failed", "cancelled", "error")

#: Guests of each kind; every test takes new ones, so that tests do not meet.
IDLE, RESTLESS = 120, 50

SCENARIO = f"""
name: clients
seed: 7
stores:
  shared: {{capacity_gib: 20000}}
hosts:
  - {{name: "h{{n}}", count: 2, vcpus: 512, memory_mib: 1048576, link_mib_per_s: 1000, directories: {{/shared: shared}}}}
  - {{name: far, vcpus: 512, memory_mib: 1048576, link_mib_per_s: 1000, directories: {{/shared: shared}}}}
  - {{name: draining, vcpus: 64, memory_mib: 65536, link_mib_per_s: 1000, directories: {{/shared: shared}}}}
  - {{name: leaving, vcpus: 64, memory_mib: 65536, link_mib_per_s: 1000, directories: {{/shared: shared}}}}
  - {{name: limited, vcpus: 64, memory_mib: 65536, link_mib_per_s: 1000, directories: {{/shared: shared}}}}
guests:
  - {{name: "idle-{{n}}", count: {IDLE}, hosts: [h1, h2], memory_mib: 128, disks: [{{directory: /shared}}]}}
  # Dirties faster than the link carries: it moves only if something is done about it.
  - {{name: "restless-{{n}}", count: {RESTLESS}, hosts: [h1, h2], memory_mib: 1024, dirty_mib_per_s: 20000, working_set_mib: 900,
     disks: [{{directory: /shared}}]}}
  - {{name: "drained-{{n}}", count: 2, hosts: draining, memory_mib: 256, disks: [{{directory: /shared}}]}}
  - {{name: "leaver-{{n}}", count: 2, hosts: leaving, memory_mib: 256, disks: [{{directory: /shared}}]}}
  - {{name: "limited-{{n}}", count: 3, hosts: limited, memory_mib: 256, disks: [{{directory: /shared}}]}}
  # For what stops and pauses.
  - {{name: "toggled-{{n}}", count: 6, hosts: far, memory_mib: 256, disks: [{{directory: /shared}}]}}
"""

CONFIGURATION = """
[DEFAULT]
state_path = {directory}/state
max_concurrent_live_migrations = 1000
max_concurrent_incoming_live_migrations = 1000
[api]
bind_port = 0
[agent]
driver = simulated
journal_path = {directory}/journal
journal_fsync = false
default_project_id = admin
inventory_debounce_seconds = 0.05
[simulated]
scenario_file = {directory}/scenario.yaml
[libvirt]
live_migration_monitor_interval = 1
live_migration_completion_timeout = 0
{more}
"""


class Service:
    """A running service, and what its own API says of it."""

    def __init__(self, base: str, configuration: pathlib.Path, token: str = "") -> None:
        #: The file that it was started with.
        self.configuration = configuration
        #: Without a version: "http://127.0.0.1:35000".
        self.base = base
        self._http = httpx.Client(base_url=base, timeout=30.0, headers={"X-Auth-Token": token} if token else {})

    @property
    def compute(self) -> str:
        """The address as a catalog has it."""
        return f"{self.base}/v2.1"

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, json: Any = None) -> httpx.Response:
        """Send exactly this."""
        return self._http.request(method, f"/v2.1{path}", headers=dict(headers or {}), json=json)

    def get(self, path: str, version: str = "2.1000") -> Any:
        """Read something that must be there."""
        answer = self.request("GET", path, headers={"OpenStack-API-Version": f"compute {version}"})
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def server(self, name: str) -> dict[str, Any]:
        """Give a server by its name."""
        found = self.get(f"/servers/detail?all_tenants=1&name=^{name}$", "2.104")["servers"]
        assert len(found) == 1, f"{len(found)} servers are called {name}"
        return dict(found[0])

    def id_of(self, name: str) -> str:
        """Give a server's id."""
        return str(self.server(name)["id"])

    def host_of(self, name: str) -> str:
        """Say where a server runs."""
        return str(self.server(name)["OS-EXT-SRV-ATTR:host"])

    def migrations(self, name: str) -> list[dict[str, Any]]:
        """Give a server's migrations, the newest first, those that have ended too."""
        return list(self.get(f"/os-migrations?instance_uuid={self.id_of(name)}")["migrations"])

    def migration(self, name: str) -> dict[str, Any]:
        """Give a server's last migration in full."""
        last = self.migrations(name)[0]
        return dict(self.get(f"/servers/{last['instance_uuid']}/migrations/{last['id']}")["migration"])

    def actions(self, name: str) -> list[str]:
        """Give the names of what was asked of a server, the newest first."""
        return [action["action"] for action in self.get(f"/servers/{self.id_of(name)}/os-instance-actions")["instanceActions"]]

    def compute_service(self, host: str) -> dict[str, Any]:
        """Give the service of a host."""
        return dict(self.get(f"/os-services?host={host}&binary=nova-compute", "2.104")["services"][0])

    def settled(self, name: str) -> Any:
        """Wait until a server's last migration has ended, and give it."""
        return self.until(lambda: self._ended(name), f"the migration of {name} to end")

    def running(self, name: str) -> Any:
        """Wait until a server's last migration copies and has counters, and give it."""
        return self.until(lambda: self._copying(name), f"the migration of {name} to run")

    def start_migration(self, name: str, **keys: Any) -> Any:
        """Live-migrate without any client, and give the migration once it copies."""
        answer = self.request(
            "POST",
            f"/servers/{self.id_of(name)}/action",
            headers={"OpenStack-API-Version": "compute 2.1000"},
            json={"os-migrateLive": {"host": None, "block_migration": "auto", **keys}},
        )
        assert answer.status_code == 202, answer.text
        return self.running(name)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something true, and give it."""
        deadline = time.monotonic() + WAIT_SECONDS
        pause = selectors.DefaultSelector()
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {WAIT_SECONDS:g} s for {what}"
            pause.select(0.05)
        return value

    def close(self) -> None:
        """Send no more."""
        self._http.close()

    def _ended(self, name: str) -> dict[str, Any] | None:
        found = self.migrations(name)
        return self.migration(name) if found and found[0]["status"] in ENDED else None

    def _copying(self, name: str) -> dict[str, Any] | None:
        found = self.migration(name) if self.migrations(name) else None
        return found if found and found["status"] == "running" and found["memory_total_bytes"] else None


@contextlib.contextmanager
def running(directory: pathlib.Path, more: str = "", token: str = "") -> Iterator[Service]:
    """Run the service in a directory of its own.

    :param more: further configuration, after the sections above.
    :param token: an administrator's, where who asks must say who it is.
    """
    (directory / "scenario.yaml").write_text(SCENARIO)
    (directory / "wherry.conf").write_text(CONFIGURATION.format(directory=directory, more=more))
    command = [sys.executable, "-m", "wherry.cmd.main", "all-in-one", "--config-file", str(directory / "wherry.conf")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            service = Service(_address(process, directory / "log"), directory / "wherry.conf", token)
            try:
                _await_guests(service)
                yield service
            finally:
                service.close()
        finally:
            process.terminate()
            try:
                process.communicate(timeout=STOP_SECONDS)
            finally:
                process.kill()


def _address(process: subprocess.Popen[str], log: pathlib.Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if ready.select(START_SECONDS) else ""
    found = re.search(r"at (http://\S+)/v2\.1", line)
    assert found, f"the service did not start: {line!r}\n{log.read_text()[-4000:]}"
    return found[1]


def _await_guests(service: Service) -> None:
    wanted = IDLE + RESTLESS + 2 + 2 + 3 + 6
    service.until(lambda: len(service.get("/servers?all_tenants=1", "2.104")["servers"]) == wanted, "all guests to be found")
