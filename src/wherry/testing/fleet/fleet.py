# SPDX-License-Identifier: Apache-2.0
"""A whole site on this machine: PostgreSQL, nats-server, and any number of apis, conductors and agents, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import typing
from collections.abc import Iterator, Mapping

from wherry import clock as clocks
from wherry.config import database as config_database
from wherry.db import store as stores
from wherry.testing import lab as labs
from wherry.testing import postgres_server
from wherry.testing.fleet import nats, program

#: Section -> option -> value.
Options = program.Options
_DATABASE = "wherry"


def merged(*several: Options) -> dict[str, dict[str, object]]:
    """Put options together; the later one wins."""
    all_: dict[str, dict[str, object]] = {}
    for options in several:
        for section, values in options.items():
            all_.setdefault(section, {}).update(values)
    return all_


def simulated_agent(name: str = "agent", **options: object) -> dict[str, Options]:
    """Give the one agent of a simulated fleet, which is inside its process; keywords are options of [simulated]."""
    return {name: {"agent": {"driver": "simulated", "journal_fsync": "false"}, "simulated": options}}


def lab_agents(lab: labs.Lab) -> dict[str, Options]:
    """Give an agent for each host of a lab."""
    return {host.name: {"DEFAULT": {"host": host.name}, "agent": {"hosts": f"{host.name}={host.uri}"}} for host in lab.hosts}


class Fleet:
    """The site, from the entry of a `with` to its end. Its directory keeps configuration and logs.

    :param agents: name -> its own options; see `simulated_agent` and `lab_agents`.
    :param options: of every process.
    :param postgres: a server to use; None = one of its own.
    :param is_durable: whether its own PostgreSQL waits for the disk.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        agents: Mapping[str, Options],
        apis: int = 1,
        conductors: int = 1,
        options: Options | None = None,
        postgres: postgres_server.Server | None = None,
        is_durable: bool = False,
    ) -> None:
        self.directory = directory
        self.nats = nats.Nats(directory)
        self._lent_postgres = postgres
        self._settings = "" if is_durable else "-c fsync=off"
        self._options = options or {}
        self._agents = agents
        self._counts = {"api": apis, "conductor": conductors}
        self.apis: list[program.Program] = []
        self.conductors: list[program.Program] = []
        self.agents: dict[str, program.Program] = {}
        self._postgres: postgres_server.Server | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> typing.Self:
        with contextlib.ExitStack() as stack:
            server = self._lent_postgres or stack.enter_context(postgres_server.running(self._settings))
            self._postgres = server
            address = create_database(server, _DATABASE)
            stack.callback(lambda: drop_database(server, _DATABASE))
            stack.enter_context(self.nats)
            self._make(address)
            stack.callback(lambda: program.end_all(list(self.programs())))
            for one in self.programs():
                one.start(is_awaited=False)
            for one in self.programs():
                one.wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def postgres(self) -> postgres_server.Server:
        """Its database's server."""
        if self._postgres is None:
            raise program.FleetError("the fleet was not started")
        return self._postgres

    @property
    def urls(self) -> list[str]:
        """Where its apis serve."""
        return [f"http://127.0.0.1:{one.option('api', 'bind_port')}" for one in self.apis]

    def programs(self) -> Iterator[program.Program]:
        """Give every process of Wherry's."""
        yield from self.conductors
        yield from self.agents.values()
        yield from self.apis

    def sql(self, statement: str) -> str:
        """Ask the database; gives the rows, a line each, fields divided by bars."""
        return self.postgres.sql(statement, _DATABASE)

    def _make(self, address: str) -> None:
        shared = merged(
            {
                "DEFAULT": {"state_path": self.directory / "state", "start_retry_initial_seconds": 0.1},
                "bus": {"transport_url": self.nats.url},
            },
            self._options,
        )
        with_database = merged(shared, {"database": {"connection": address}})
        for number in range(self._counts["conductor"]):
            self.conductors.append(self._program("conductor", f"conductor-{number + 1}", with_database))
        for name, own in self._agents.items():
            self.agents[name] = self._program("agent", name, merged(shared, own))
        for number in range(self._counts["api"]):
            port = {"api": {"bind_port": program.free_port()}}
            self.apis.append(self._program("api", f"api-{number + 1}", merged(with_database, port)))

    def _program(self, command: str, name: str, options: Options) -> program.Program:
        named = merged({"DEFAULT": {"host": name}}, options)
        return program.Program(command, name, self.directory, named)


def create_database(server: postgres_server.Server, name: str) -> str:
    """Make a database with this release's schema; gives its address."""
    server.sql(f"CREATE DATABASE {name}")
    address = server.address(name)

    async def upgrade() -> None:
        store = await stores.Store.open(config_database.DatabaseSection(connection=address), clocks.LoopClock())
        try:
            await store.upgrade()
        finally:
            await store.close()

    asyncio.run(upgrade())
    return address


def drop_database(server: postgres_server.Server, name: str) -> None:
    """Remove a database, and end whoever uses it."""
    server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
