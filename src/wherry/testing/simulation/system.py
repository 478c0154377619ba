# SPDX-License-Identifier: Apache-2.0
"""The whole system as simulated processes: apis, conductors and agents, each of which dies alone and comes back.

Starts, ends and finds them. When that happens is others' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any

from wherry import config as configs
from wherry import errors
from wherry.agent import service as agent_service
from wherry.cmd import wiring
from wherry.conductor import service as conductor_service
from wherry.db import store as stores
from wherry.drivers import base, simulated
from wherry.telemetry import metrics
from wherry.testing import lent_store, virtual_boot, virtual_time
from wherry.testing.simulation import births, database, disk, hypervisor, names, perils, process
from wherry.testing.simulation import bus as buses
from wherry.testing.simulation import chance as chances
from wherry.testing.simulation import trace as traces

#: An ASGI application.
Application = Callable[[Any, Any, Any], Awaitable[None]]
#: Told of what a process committed, before it learns of it.
OnCommit = Callable[[process.Process, object], None]


@dataclasses.dataclass(kw_only=True, slots=True)
class Part:
    """One process and what it holds of the world."""

    of: process.Process
    transport: buses.SimulatedTransport
    #: Whether its start has returned.
    is_ready: bool = False
    application: Application | None = None
    conductor: conductor_service.Conductor | None = None
    agent: agent_service.Agent | None = None
    driver: hypervisor.SimulatedHypervisor | None = None
    #: Host of an agent.
    host: str = ""
    #: On the loop's time: since when an agent has its hypervisor and watches what goes on.
    watches_since: float | None = None


class System(names.Names):
    """A cloud whose every process may die. `start` brings it up."""

    def __init__(
        self, world: simulated.World, chance: chances.Chance, trace: traces.Trace, *, overrides: Mapping[str, dict[str, Any]]
    ) -> None:
        super().__init__(world)
        self.chance = chance
        self.trace = trace
        self.clock = virtual_time.virtual_clock()
        self.overrides, self.config = overrides, _config(overrides)
        self.bus = buses.SimulatedBus(chance.stream("bus"), trace)
        self.trouble = database.Trouble(chance.stream("database"), self.clock, trace)
        self.perils = perils.Perils(chance.stream("perils"), trace, kill=self.kill, stall=self.stall, disturb=self._disturb)
        self.disks = {name: disk.Disk() for name in world.hosts}
        self.boots = {name: virtual_boot.VirtualBootClock(self.clock) for name in world.hosts}
        self.parts: dict[process.Process, Part] = {}
        self.on_commit: list[OnCommit] = []
        self.on_call: list[hypervisor.OnCall] = []
        #: Told of each host whose agent may have lost some of its notes.
        self.on_loss: list[Callable[[str], None]] = []
        #: Entered for each call of a hypervisor.
        self.in_call: hypervisor.InCall = lambda _of, _method, _instance_uuid: contextlib.nullcontext()
        #: Does what a strike calls for, given its name and a host or an empty text.
        self.disturb: Callable[[str, str], None] = lambda _deed, _host: None
        #: Seconds after which the dead come back, drawn at each death; a long one outlives a lease.
        self.absence: Callable[[], float] = lambda: 1.0
        #: Seconds for which a process stops that is struck so, drawn at each blow.
        self.stalling: Callable[[], float] = lambda: 1.0
        self.deaths = 0
        self._around = wiring.Surroundings(config=self.config, clock=self.clock, metrics=metrics.Metrics())
        self._numbers = itertools.count(1)
        self._is_over = False

    async def start(self, *, apis: int, conductors: int) -> None:
        """Bring everything up, and wait until every guest is a server."""
        self.store: stores.Store = await lent_store.open_store(self.config.database, self.clock, self.chance.stream("rows"))
        for _ in range(conductors):
            await self.start_conductor()
        for name in self.world.hosts:
            await self.start_agent(name)
        for _ in range(apis):
            await self.start_api()
        wanted = {uuid for host in self.world.hosts.values() for uuid in host.guests}

        async def is_known() -> bool:
            return set(await self.store.read(lambda uow: uow.servers.find(sorted(wanted)))) == wanted

        await self.until(is_known)

    async def end(self) -> None:
        """Let everything die for good."""
        self._is_over = True
        for part in list(self.parts.values()):
            self._bury(part)
        await asyncio.sleep(0)
        await self.store.close()

    # ------------------------------------------------------------- the parts

    async def start_api(self) -> None:
        """Start one more api."""
        of = process.Process("api", f"api-{next(self._numbers)}")
        new_uuid = self.chance.ids("requests")

        async def begin(part: Part) -> None:
            await part.transport.open()
            store = self._store_of(of)
            part.application = wiring.make_api(self._around, store, part.transport, new_request_id=lambda: f"req-{new_uuid()}").application

        await self._start(Part(of=of, transport=self._transport(of)), begin)

    async def start_conductor(self) -> None:
        """Start one more conductor."""
        of = process.Process("conductor", f"conductor-{next(self._numbers)}")

        async def begin(part: Part) -> None:
            await part.transport.open()
            part.conductor = wiring.make_conductor(self._around, self._store_of(of), part.transport, of.name)
            await part.conductor.start()
            part.conductor.take_up()

        await self._start(Part(of=of, transport=self._transport(of)), begin)

    async def start_agent(self, host: str) -> None:
        """Start the agent of a host."""
        of = process.Process("agent", f"agent-{host}-{next(self._numbers)}")
        settings = base.HostSettings(name=host, connection_uri=self.world.uri(host))
        driver = hypervisor.SimulatedHypervisor(
            self.world,
            settings,
            of=of,
            dangers=self.perils,
            chance=self.chance.stream("hypervisors"),
            on_call=self._called,
            in_call=self._in_call,
        )

        async def begin(part: Part) -> None:
            await part.transport.open()
            part.agent = wiring.make_agent(
                self._around,
                settings,
                part.transport,
                boot=self.boots[host],
                driver=driver,
                storage=disk.SimulatedStorage(self.disks[host], of, self.perils),
                incarnation=self.chance.ids("incarnations")(),
            )
            await part.agent.start()
            of.spawn(self._follow(part, part.agent), f"follow {of.name}")

        await self._start(Part(of=of, transport=self._transport(of), driver=driver, host=host), begin)

    def kill(self, of: process.Process) -> None:
        """End a process as kill -9 would, at this instant; it comes back after a while."""
        part = self.parts.get(of)
        if part is None:
            return
        self.deaths += 1
        self._bury(part)
        if not self._is_over:
            seconds = self.absence()
            self.trace.note(f"-- {of.name} is dead for {seconds:.3f} s")
            process.outside(lambda: self._revive(part), seconds)

    def stall(self, of: process.Process, seconds: float = 0.0) -> None:
        """Let a process stop where it is, and go on after a while."""
        seconds = seconds or self.stalling()
        self.trace.note(f"-- {of.name} stands still for {seconds:.3f} s")
        of.stall(seconds)

    async def stop(self, of: process.Process) -> None:
        """End a conductor or an agent in order; it comes back after a while."""
        part = self.parts[of]
        stopping = (part.conductor or part.agent) if part.is_ready else None
        if stopping is not None:
            self.trace.note(f"-- {of.name} is told to stop")
            task = of.spawn(stopping.stop(), f"stop {of.name}")
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                self.trace.note(f"-- {of.name} could not stop in order: {task.exception()}")
        self.kill(of)

    def reload(self, overrides: Mapping[str, dict[str, Any]]) -> None:
        """Let every process read a changed configuration."""
        self.overrides, self.config = overrides, _config(overrides)
        self._around = dataclasses.replace(self._around, config=self.config)
        for part in list(self.parts.values()):
            if part.conductor is not None and part.is_ready:
                part.conductor.reload(self.config)
            elif part.agent is not None and part.is_ready:
                part.of.spawn(part.agent.reload(self.config), "reload")

    def of_kind(self, kind: str) -> list[Part]:
        """Give the living parts of a kind that have come up."""
        return [part for part in self.parts.values() if part.of.kind == kind and part.is_ready]

    def agent_of(self, host: str) -> Part | None:
        """Give the host's living agent."""
        return next((part for part in self.parts.values() if part.host == host), None)

    # ----------------------------------------------------------- for the judges

    def journals(self) -> Iterator[tuple[str, bytes]]:
        """Give every note of every agent's journal, with its host."""
        for host, place in self.disks.items():
            for _, data in sorted(place.notes.items()):
                yield host, data

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
                await self.clock.sleep(0.5)

    # ----------------------------------------------------------------- inside

    async def _start(self, part: Part, begin: Callable[[Part], Coroutine[Any, Any, None]]) -> None:
        self.parts[part.of] = part
        task = part.of.spawn(begin(part), f"start {part.of.name}")
        await asyncio.wait([task])
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            part.is_ready = True
            self.trace.note(f"++ {part.of.name} is up")
        elif isinstance(error, errors.Error):
            # The program ends, and whoever runs it starts it again.
            self.trace.note(f"-- {part.of.name} could not start: {error}")
            self.kill(part.of)
        else:
            raise error

    async def _follow(self, part: Part, agent: agent_service.Agent) -> None:
        """Note since when an agent watches; end it as its program would when its host is refused."""
        await agent.ready()
        part.watches_since = self.clock.monotonic()
        try:
            await agent.refused()
        except errors.HostRefused as error:
            self.trace.note(f"-- {part.of.name} is refused: {error}")
            self.kill(part.of)

    def _bury(self, part: Part) -> None:
        del self.parts[part.of]
        part.of.kill()
        part.transport.sever()
        if part.driver is not None:
            part.driver.die()

    def _revive(self, part: Part) -> None:
        if self._is_over:
            return
        if part.of.kind == "agent":
            process.spawn_outside(self.start_agent(part.host), "revive")
        elif part.of.kind == "conductor":
            process.spawn_outside(self.start_conductor(), "revive")
        else:
            process.spawn_outside(self.start_api(), "revive")

    def _transport(self, of: process.Process) -> buses.SimulatedTransport:
        return buses.SimulatedTransport(self.bus, of, self.perils)

    def _store_of(self, of: process.Process) -> database.SimulatedStore:
        return database.SimulatedStore(self.store, self.trouble, of, self.perils, self._committed)

    def _committed(self, of: process.Process, result: object) -> None:
        for told in self.on_commit:
            told(of, result)

    def _called(self, host: str, method: str, instance_uuid: str, is_done: bool) -> None:
        for told in self.on_call:
            told(host, method, instance_uuid, is_done)

    def _in_call(self, of: process.Process, method: str, instance_uuid: str) -> contextlib.AbstractContextManager[None]:
        return self.in_call(of, method, instance_uuid)

    def _disturb(self, deed: str, of: process.Process) -> None:
        part = self.parts.get(of)
        self.disturb(deed, part.host if part is not None else "")


def _config(overrides: Mapping[str, dict[str, Any]]) -> configs.Config:
    settings: dict[str, dict[str, Any]] = {
        "DEFAULT": {"host": "control", "state_path": str(pathlib.Path("/nowhere"))},
        "database": {"connection": "sqlite:///:memory:"},
        "agent": {"driver": "simulated"},
        "images": {"directory": births.images()},
    }
    for section, options in overrides.items():
        settings.setdefault(section, {}).update(options)
    return configs.load([], {}, settings)
