# SPDX-License-Identifier: Apache-2.0
"""What is measured: a simulated fleet of hosts behind real processes, with SQLite in one process or with PostgreSQL and NATS in several.

All data lies in a directory that goes with the site. PostgreSQL and SQLite wait for the disk, as in production.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import sqlite3
import tempfile
import time
import typing
import urllib.parse
from collections.abc import Mapping
from typing import Any

from benchmarks import usage
from wherry.testing import postgres_server
from wherry.testing.fleet import fleet, nats, program

#: Of every request that names none.
VERSION = "2.90"
#: Body of a request for a live migration.
LIVE_MIGRATE = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
_PAGE = 1000
#: What has PostgreSQL count statements, of which each costs some microseconds more.
_COUNTING = "-c shared_preload_libraries=pg_stat_statements"
_DISCOVERY_SECONDS = 300.0


class Site:
    """One running Wherry, from the entry of a `with` to its end.

    :param store: "sqlite": everything in one process. "postgresql": api, conductors and agent apart, NATS between them.
    :param options: of every process.
    :param copy_seconds: how long the transfer of a guest takes; 0 = no time.
    """

    def __init__(
        self,
        store: str,
        *,
        hosts: int,
        guests: int,
        copy_seconds: float = 0.0,
        conductors: int = 1,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.store = store
        self.guests = guests
        self._hosts = hosts
        self._copy_seconds = copy_seconds
        self._conductors = conductors
        self._options = options or {}
        self._stack = contextlib.ExitStack()
        self.fleet: fleet.Fleet | None = None
        self.programs: list[program.Program] = []
        self.url = ""
        self._bus_port = 0

    def __enter__(self) -> typing.Self:
        with contextlib.ExitStack() as stack:
            self.directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wherry-bench-")))
            simulated = {"scenario_file": self._scenario()}
            # Each request is logged in production, too; what is logged is part of what is measured.
            options: dict[str, Any] = fleet.merged({"agent": {"inventory_interval_seconds": 600}}, self._options)
            if self.store == "sqlite":
                own: Any = {"agent": {"driver": "simulated"}, "simulated": simulated, "api": {"bind_port": program.free_port()}}
                state: Any = {"DEFAULT": {"host": "control", "state_path": str(self.directory)}}
                one = program.Program("all-in-one", "wherry", self.directory, fleet.merged(state, own, options))
                stack.callback(one.end)
                one.start(is_awaited=False)
                one.wait_ready(_DISCOVERY_SECONDS)
                self.programs = [one]
                self.url = f"http://127.0.0.1:{one.option('api', 'bind_port')}"
            else:
                agents: Any = {"agent": {"agent": {"driver": "simulated"}, "simulated": simulated}}
                server = stack.enter_context(postgres_server.running(_COUNTING))
                site = fleet.Fleet(self.directory, agents=agents, conductors=self._conductors, options=options, postgres=server)
                self._bus_port = program.free_port()
                site.nats = nats.Nats(self.directory, f"http: 127.0.0.1:{self._bus_port}\n")
                self.fleet = stack.enter_context(site)
                site.sql("CREATE EXTENSION pg_stat_statements")
                self.programs = list(site.programs())
                self.url = site.urls[0]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def durability(self) -> str:
        """Say what a commit is worth here."""
        option = "PostgreSQL, synchronous_commit on" if self.fleet else "SQLite in WAL mode, synchronous full"
        return f"{option}: on the disk before it is answered"

    @property
    def bus_url(self) -> str:
        """Where the bus tells what it has counted."""
        return f"http://127.0.0.1:{self._bus_port}"

    def now(self) -> float:
        """Give the time, for differences."""
        return time.monotonic()

    def sql(self, statement: str) -> str:
        """Ask PostgreSQL."""
        if self.fleet is None:
            raise program.FleetError("there is no PostgreSQL in this site")
        return self.fleet.sql(statement)

    def count(self, statement: str) -> int:
        """Ask either database for one number."""
        if self.fleet is not None:
            return int(self.sql(statement).strip())
        with contextlib.closing(sqlite3.connect(self.directory / "wherry.sqlite", timeout=30)) as connection:
            return int(connection.execute(statement).fetchone()[0])

    def own(self, used: Mapping[str, float]) -> float:
        """Sum what processes of Wherry used, its servers left out."""
        names = {one.name for one in self.programs}
        return sum(seconds for name, seconds in used.items() if name in names)

    def cpu_of(self, command: str, used: Mapping[str, float]) -> float:
        """Sum what the processes of a kind used; the one process of all where there is only that."""
        names = {one.name for one in self.programs if one.command in (command, "all-in-one")}
        return sum(seconds for name, seconds in used.items() if name in names)

    def pids(self) -> dict[str, int]:
        """Give every process that serves, by name."""
        found = {one.name: one.pid for one in self.programs}
        if self.fleet is not None:
            found |= {"postgresql": self.fleet.postgres.pid, "nats-server": self.fleet.nats.pid}
        return found

    def used(self) -> usage.Usage:
        """Count the CPU time of every process until now."""
        return usage.of(self.pids())

    def server_ids(self) -> list[str]:
        """Give the ids of all servers, once every guest has been found."""

        def found() -> list[str]:
            ids = self.listed("/v2.1/servers", "servers")
            return ids if len(ids) >= self.guests else []

        return program.until(found, f"{self.guests} guests to be found", seconds=_DISCOVERY_SECONDS, interval_seconds=0.5)

    def listed(self, path: str, key: str) -> list[str]:
        """Give the uuids of everything in a list, page by page."""
        ids: list[str] = []
        while True:
            marker = f"&marker={ids[-1]}" if ids else ""
            page = self.get(f"{path}?limit={_PAGE}{marker}")[key]
            if not page:
                return ids
            ids += [str(one.get("uuid") or one["id"]) for one in page]

    def get(self, path: str) -> dict[str, Any]:
        """Ask the API as an administrator."""
        return dict(json.loads(self.ask("GET", path)[1]))

    def ask(self, method: str, path: str, body: object = None, version: str = VERSION) -> tuple[int, bytes]:
        """Send a request; gives status and body."""
        split = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=120)
        try:
            headers = {"X-OpenStack-Nova-API-Version": version, "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _scenario(self) -> pathlib.Path:
        path = self.directory / "fleet.yaml"
        memory_mib = 512
        text = {
            "name": "bench",
            "instant": not self._copy_seconds,
            "stores": {"shared": {}},
            "hosts": [
                {
                    "name": "host-{n:05}",
                    "count": self._hosts,
                    "vcpus": 1 << 16,
                    "memory_mib": 1 << 26,
                    "directories": {"/shared": "shared"},
                    # Each link carries one guest at a time, at this pace, where transfers take time at all.
                    "link_mib_per_s": memory_mib / self._copy_seconds if self._copy_seconds else 1 << 20,
                }
            ],
            "guests": [{"name": "guest-{n:06}", "count": self.guests, "memory_mib": memory_mib, "disks": [{"directory": "/shared"}]}],
        }
        # JSON is YAML, too.
        path.write_text(json.dumps(text))
        return path
