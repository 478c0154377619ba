# SPDX-License-Identifier: Apache-2.0
"""The whole system in one process: real api, conductors and agents on a simulated fleet, each of which can die alone.

Each part has its own access to the bus, and each conductor its own to the database, which go dead when it is killed: nothing that a killed
part still does has any effect. Made for virtual time, works on real time too.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar

import httpx

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.agent import boot_clock
from wherry.agent import service as agent_service
from wherry.api import service as api_service
from wherry.cmd import wiring
from wherry.conductor import service as conductor_service
from wherry.db import store as stores
from wherry.drivers import base, simulated
from wherry.rpc.transports import memory
from wherry.telemetry import metrics

T = TypeVar("T")

#: Names of worlds must differ within a process, since driver factories find them by name.
_numbers = itertools.count(1)


class MakeCloud(Protocol):
    """What the tests' fixture of this name is: a running cloud inside, stopped after; keywords are options by section."""

    def __call__(self, world: simulated.World, **overrides: dict[str, Any]) -> contextlib.AbstractAsyncContextManager[Cloud]:
        """Start it."""


class MortalStore(stores.Store):
    """One part's access to the database, which ends with the part."""

    def __init__(self, shared: stores.Store) -> None:
        self._shared = shared
        self._is_dead = False

    def die(self) -> None:
        """Have no unit of work run any more."""
        self._is_dead = True

    async def run(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        self._check()
        return await self._shared.run(unit)

    async def read(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        self._check()
        return await self._shared.read(unit)

    def _check(self) -> None:
        if self._is_dead:
            raise errors.DatabaseUnavailable(detail="this process is dead")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Conductor:
    part: conductor_service.Conductor
    transport: memory.MemoryTransport
    store: MortalStore


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Agent:
    part: agent_service.Agent
    transport: memory.MemoryTransport


class Cloud:
    """A running system on the hosts of a simulated world.

    :param directory: for the agents' journals; the database is in memory.
    :param overrides: options by section, as config.load takes them.
    """

    def __init__(
        self,
        world: simulated.World,
        directory: pathlib.Path,
        *,
        clock: clocks.Clock | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.world = world
        self.clock = clock or clocks.LoopClock()
        self._scenario = f"cloud-{next(_numbers)}"
        self.config = _config(directory, self._scenario, overrides or {})
        self.bus = memory.MemoryBus()
        self.metrics = metrics.Metrics()
        self._around = wiring.Surroundings(config=self.config, clock=self.clock, metrics=self.metrics)
        self._boot_clock = boot_clock.VirtualBootClock(self.clock)
        self.conductors: dict[str, _Conductor] = {}
        self.agents: dict[str, _Agent] = {}
        self._stack = contextlib.AsyncExitStack()
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Cloud:
        simulated.WORLDS.add(self._scenario, self.world)
        self.store = await stores.Store.open(self.config.database, self.clock)
        self._stack.push_async_callback(self.store.close)
        await self.store.upgrade()
        await self.start_conductor()
        for name in self.world.hosts:
            await self.start_agent(name)
        self.api = await self._start_api()
        await self._until_discovered()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in list(self.agents):
            await self.stop_agent(name)
        for conductor_id in list(self.conductors):
            await self.conductors.pop(conductor_id).part.stop()
        await self._stack.aclose()

    # ------------------------------------------------------------- the parts

    async def start_conductor(self) -> str:
        """Start one more conductor; gives its id."""
        transport, store = await self._transport(), MortalStore(self.store)
        part = wiring.make_conductor(self._around, store, transport, f"conductor-{next(self._numbers)}")
        await part.start()
        self.conductors[part.id] = _Conductor(part=part, transport=transport, store=store)
        return part.id

    async def kill_conductor(self, conductor_id: str | None = None) -> None:
        """End a conductor as kill -9 would: nothing is handed over, its lease must run out."""
        one = self.conductors.pop(conductor_id or next(iter(self.conductors)))
        one.transport.sever()
        one.store.die()
        with contextlib.suppress(errors.DatabaseUnavailable):
            await one.part.stop()

    async def start_agent(self, host: str) -> None:
        """Start the agent of a host."""
        settings = next(one for one in self._hosts() if one.name == host)
        transport = await self._transport()
        part = wiring.make_agent(self._around, settings, transport, boot=self._boot_clock, is_threaded=False)
        await part.start()
        self.agents[host] = _Agent(part=part, transport=transport)

    async def stop_agent(self, host: str) -> None:
        """Stop an agent in order: it says goodbye."""
        one = self.agents.pop(host)
        await one.part.stop()
        await one.transport.close()

    async def kill_agent(self, host: str) -> None:
        """End an agent as kill -9 would: it says nothing, and its journal is as it was last written."""
        one = self.agents.pop(host)
        one.transport.sever()
        await one.part.stop()

    # ----------------------------------------------------------- as a client

    async def request(self, method: str, path: str, *, version: str = "2.90", token: str | None = None, **kwargs: Any) -> httpx.Response:
        """Send a request to the API, as an administrator unless a token says otherwise."""
        headers = {"X-OpenStack-Nova-API-Version": version} | ({"X-Auth-Token": token} if token else {})
        return await self._http.request(method, path, headers=headers, **kwargs)

    async def server(self, name: str) -> dict[str, Any]:
        """Give the server of that name as the API shows it."""
        found = (await self.request("GET", f"/v2.1/servers/{self.uuid(name)}")).json()
        return dict(found["server"])

    def uuid(self, name: str) -> str:
        """Give the uuid of the guest of that name."""
        for host in self.world.hosts.values():
            for one in host.guests.values():
                if one.spec.name == name:
                    return one.spec.uuid
        return self.world.uuid_for("guest", name)

    async def live_migrate(self, name: str, *, host: str | None = None, version: str = "2.90", **keys: Any) -> httpx.Response:
        """Ask for a live migration."""
        body: dict[str, Any] = {"host": host, "block_migration": "auto", **keys}
        if tuple(map(int, version.split("."))) < (2, 25):
            body = {"host": host, "block_migration": False, "disk_over_commit": False, **keys}
        return await self.request("POST", f"/v2.1/servers/{self.uuid(name)}/action", version=version, json={"os-migrateLive": body})

    async def until(self, condition: Callable[[], Any], *, seconds: float = 600.0) -> Any:
        """Wait until a condition, which may be a coroutine function, gives something true; gives it back.

        :raises TimeoutError: when it does not in time.
        """
        async with asyncio.timeout(seconds):
            while True:
                value = condition()
                value = await value if asyncio.iscoroutine(value) else value
                if value:
                    return value
                await self.clock.sleep(0.05)

    # ----------------------------------------------------------------- inside

    def _hosts(self) -> list[base.HostSettings]:
        return [base.HostSettings(name=name, connection_uri=self.world.uri(name)) for name in self.world.hosts]

    async def _transport(self) -> memory.MemoryTransport:
        transport = memory.MemoryTransport(self.bus)
        await transport.open()
        return transport

    async def _start_api(self) -> api_service.Api:
        api = wiring.make_api(self._around, self.store, await self._transport())
        self._stack.push_async_callback(api.stop)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=api.application), base_url="http://wherry.test", timeout=None)
        self._stack.push_async_callback(self._http.aclose)
        return api

    async def _until_discovered(self) -> None:
        wanted = {uuid for host in self.world.hosts.values() for uuid in host.guests}

        async def is_known() -> bool:
            return set(await self.store.read(lambda uow: uow.servers.find(sorted(wanted)))) == wanted

        await self.until(is_known)


def _config(directory: pathlib.Path, scenario: str, overrides: Mapping[str, Mapping[str, Any]]) -> configs.Config:
    settings: dict[str, dict[str, Any]] = {
        "DEFAULT": {"host": "control", "state_path": str(directory)},
        "database": {"connection": "sqlite+aiosqlite:///:memory:"},
        "agent": {"driver": "simulated", "journal_fsync": False},
        "simulated": {"scenario_file": scenario},
    }
    for section, options in overrides.items():
        settings.setdefault(section, {}).update(options)
    return configs.load([], {}, settings)
