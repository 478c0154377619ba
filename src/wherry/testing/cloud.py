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
from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol

import httpx

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.agent import service as agent_service
from wherry.api import service as api_service
from wherry.cmd import wiring
from wherry.conductor import service as conductor_service
from wherry.drivers import base, simulated
from wherry.rpc import addresses, messages
from wherry.rpc.transports import base as transports
from wherry.rpc.transports import memory
from wherry.telemetry import metrics
from wherry.testing import lent_store, mortal, virtual_boot

#: Told by a part what it just did: a conductor's id and what it committed, or an agent's host, method, and whether it is done.
OnCommit = Callable[[str, object], None]
OnCall = Callable[[str, str, bool], None]

#: Options of a conductor that looks after its lease and the others' work only now and then: for tests in which much time passes.
RARELY = {"lease_seconds": 60.0, "lease_renew_interval_seconds": 15.0, "sweep_interval_seconds": 15.0}


class MakeCloud(Protocol):
    """What the tests' fixture of this name is: a running cloud inside, stopped after; keywords are options by section."""

    def __call__(self, world: simulated.World, **overrides: dict[str, Any]) -> contextlib.AbstractAsyncContextManager[Cloud]:
        """Start it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Conductor:
    part: conductor_service.Conductor
    transport: transports.Transport
    store: mortal.MortalStore


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Agent:
    part: agent_service.Agent
    transport: transports.Transport
    driver: mortal.MortalDriver
    storage: mortal.MortalStorage


class Cloud:
    """A running system on the hosts of a simulated world.

    :param directory: for the agents' journals; the database is in memory unless the overrides name another.
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
        self.directory = directory
        self.config = _config(directory, overrides or {})
        self.bus = mortal.TappedBus()
        self.on_commit: list[OnCommit] = []
        self.on_call: list[OnCall] = []
        self.metrics = metrics.Metrics()
        self._around = wiring.Surroundings(config=self.config, clock=self.clock, metrics=self.metrics)
        self._boot_clock = virtual_boot.VirtualBootClock(self.clock)
        self.conductors: dict[str, _Conductor] = {}
        self.agents: dict[str, _Agent] = {}
        self._stack = contextlib.AsyncExitStack()
        self._numbers = itertools.count(1)
        self._dying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Cloud:
        self.store = await lent_store.open_store(self.config.database, self.clock)
        self._stack.push_async_callback(self.store.close)
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
        await asyncio.gather(*self._dying)
        await self._stack.aclose()

    # ------------------------------------------------------------- the parts

    async def start_conductor(self) -> str:
        """Start one more conductor; gives its id."""
        conductor_id = f"conductor-{next(self._numbers)}"
        transport = await self._transport(addresses.Role.CONDUCTOR)
        store = mortal.MortalStore(self.store, lambda result: self._committed(conductor_id, result))
        part = wiring.make_conductor(self._around, store, transport, conductor_id)
        await part.start()
        part.take_up()
        self.conductors[part.id] = _Conductor(part=part, transport=transport, store=store)
        return part.id

    def kill_conductor(self, conductor_id: str | None = None) -> None:
        """End a conductor as kill -9 would, at this instant: nothing is handed over, its lease must run out."""
        one = self.conductors.pop(conductor_id or next(iter(self.conductors)))
        _sever(one.transport)
        one.store.die()
        self._bury(one.part.stop())

    async def start_agent(self, host: str) -> None:
        """Start the agent of a host."""
        # One that was killed must be gone for its journal's lock to be free, as the kernel sees to it.
        await asyncio.gather(*self._dying)
        settings = next(one for one in self._hosts() if one.name == host)
        transport = await self._transport(addresses.Role.AGENT, host)
        driver = mortal.MortalDriver(self.world, settings, lambda method, is_done: self._called(host, method, is_done))
        storage = mortal.MortalStorage(pathlib.Path(self.config.agent.journal_path) / host)
        part = wiring.make_agent(self._around, settings, transport, boot=self._boot_clock, driver=driver, storage=storage)
        await part.start()
        self.agents[host] = _Agent(part=part, transport=transport, driver=driver, storage=storage)

    async def stop_agent(self, host: str) -> None:
        """Stop an agent in order: it says goodbye."""
        one = self.agents.pop(host)
        await one.part.stop()
        await one.transport.close()

    def kill_agent(self, host: str) -> None:
        """End an agent as kill -9 would, at this instant: it says nothing, and its journal is as it was last written."""
        one = self.agents.pop(host)
        _sever(one.transport)
        one.driver.die()
        one.storage.die()
        self._bury(one.part.stop())

    # ----------------------------------------------------------- as a client

    async def request(self, method: str, path: str, *, version: str = "2.90", token: str | None = None, **kwargs: Any) -> httpx.Response:
        """Send a request to the API, as an administrator unless a token says otherwise."""
        headers = {"X-OpenStack-Nova-API-Version": version} | ({"X-Auth-Token": token} if token else {})
        return await self._http.request(method, path, headers=headers, **kwargs)

    async def cast(self, address: addresses.Address, message: messages.Message) -> None:
        """Send a message as an api would."""
        sender = addresses.Sender(addresses.Role.API, self.config.default.host)
        await self._around.client(await self._transport(sender.role), sender).cast(address, message)

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

    def journals(self) -> Iterator[tuple[str, bytes]]:
        """Give every note of every agent's journal, with its host."""
        for path in sorted(pathlib.Path(self.config.agent.journal_path).glob("*/*.json")):
            yield path.parent.name, path.read_bytes()

    async def until(self, condition: Callable[[], Any], *, seconds: float = 600.0) -> Any:
        """Wait until a condition, which may be a coroutine function, gives something true; gives it back.

        :raises TimeoutError: when it does not in time.
        """
        async with asyncio.timeout(seconds):
            pause = 0.05
            while True:
                value = condition()
                value = await value if asyncio.iscoroutine(value) else value
                if value:
                    return value
                await self.clock.sleep(pause)
                # What takes long need not be seen at once; each look costs a transaction or a request.
                pause = min(1.0, pause * 1.1)

    # ----------------------------------------------------------------- inside

    def _hosts(self) -> list[base.HostSettings]:
        return [base.HostSettings(name=name, connection_uri=self.world.uri(name)) for name in self.world.hosts]

    def _bury(self, stopping: Coroutine[Any, Any, None]) -> None:
        """Cancel what a dead part still does, which must have no effect and would only take time."""

        async def stop() -> None:
            with contextlib.suppress(errors.Error, OSError):
                await stopping

        task = asyncio.create_task(stop())
        self._dying.add(task)
        task.add_done_callback(self._dying.discard)

    def _committed(self, conductor_id: str, result: object) -> None:
        for told in tuple(self.on_commit):
            told(conductor_id, result)

    def _called(self, host: str, method: str, is_done: bool) -> None:
        for told in tuple(self.on_call):
            told(host, method, is_done)

    def make_transport(self, sender: addresses.Sender) -> transports.Transport:
        """Make a part's access to the bus; a cloud on another bus makes another, whose parts cannot be killed."""
        del sender
        return memory.MemoryTransport(self.bus)

    async def _transport(self, role: addresses.Role, name: str = "") -> transports.Transport:
        transport = self.make_transport(addresses.Sender(role, name or self.config.default.host))
        await transport.open()
        self._stack.push_async_callback(transport.close)
        return transport

    async def _start_api(self) -> api_service.Api:
        api = wiring.make_api(self._around, self.store, await self._transport(addresses.Role.API))
        self._stack.push_async_callback(api.stop)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=api.application), base_url="http://wherry.test", timeout=None)
        self._stack.push_async_callback(self._http.aclose)
        return api

    async def _until_discovered(self) -> None:
        wanted = {uuid for host in self.world.hosts.values() for uuid in host.guests}

        async def is_known() -> bool:
            return set(await self.store.read(lambda uow: uow.servers.find(sorted(wanted)))) == wanted

        await self.until(is_known)


def _sever(transport: transports.Transport) -> None:
    if not isinstance(transport, memory.MemoryTransport):
        raise TypeError("only a part on the bus in memory can be killed: end its process")
    transport.sever()


def _config(directory: pathlib.Path, overrides: Mapping[str, Mapping[str, Any]]) -> configs.Config:
    settings: dict[str, dict[str, Any]] = {
        "DEFAULT": {"host": "control", "state_path": str(directory)},
        "database": {"connection": lent_store.IN_MEMORY},
        "agent": {"driver": "simulated"},
        # What a killed part has in work is not waited for.
        "bus": {"drain_timeout_seconds": 0.0},
    }
    for section, options in overrides.items():
        settings.setdefault(section, {}).update(options)
    return configs.load([], {}, settings)
