# SPDX-License-Identifier: Apache-2.0
"""Agents on a simulated fleet, and a conductor that commands them and writes down what they report.

The conductor is a peer on the bus, with the real server and client; an agent can be killed so that nothing of it has any effect afterwards.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from wherry import clock as wherry_clock
from wherry import config as wherry_config
from wherry import errors
from wherry.agent import journal, parts, service, storage
from wherry.drivers import base, simulated
from wherry.images import directory
from wherry.model import guest, host, migration, truth
from wherry.rpc import addresses, messages
from wherry.rpc import client as rpc_client
from wherry.rpc import server as rpc_server
from wherry.rpc.transports import memory
from wherry.testing import virtual_boot, virtual_time

R = TypeVar("R", bound=messages.Message)

#: MiB a second of a link that a dirtying guest outruns.
SLOW = 50.0
OPERATION = "11111111-aaaa-4000-8000-000000000001"


class MemoryStorage:
    """A journal's place that outlives the agents of a test, locked as a directory would be."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        #: What would be left after a power failure.
        self.on_disk: dict[str, bytes] = {}
        self.holder = ""
        self.is_locked = False

    async def lock(self, holder: str) -> tuple[str, ...]:
        if self.is_locked:
            raise errors.JournalLocked(path="memory", holder=self.holder)
        last, self.holder, self.is_locked = self.holder, holder, True
        return (last,) if last else ()

    async def unlock(self) -> None:
        self.is_locked = False

    async def read_all(self) -> dict[str, bytes]:
        return dict(self.notes)

    async def write(self, name: str, data: bytes, *, is_synced: bool) -> None:
        self.notes[name] = data
        if is_synced:
            self.on_disk[name] = data

    async def remove(self, name: str) -> None:
        self.notes.pop(name, None)

    async def set_aside(self, name: str) -> None:
        self.notes.pop(name, None)


class Life:
    """Whether a process lives, and when it dies: at its n-th touch of the world, before or after that has its effect."""

    def __init__(self) -> None:
        self.is_dead = False
        self.touches = 0
        self.dies_at: int | None = None
        self.dies_after_effect = False
        #: Whether its machine's power fails with it, so that notes that were not synced are lost.
        self.loses_unsynced = False
        self.has_died = asyncio.Event()
        self.on_death: Callable[[], None] = lambda: None

    def die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self.has_died.set()
            self.on_death()

    async def touch(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do the work, unless the process is dead or dies of it: then this never returns."""
        self.touches += 1
        is_last = self.touches == self.dies_at
        if is_last and not self.dies_after_effect:
            self.die()
        await self._hang_if_dead()
        try:
            result = await work()
        finally:
            if is_last:
                self.die()
        await self._hang_if_dead()
        return result

    async def _hang_if_dead(self) -> None:
        if self.is_dead:
            await asyncio.get_running_loop().create_future()


class Mortal:
    """An object as one process holds it: every coroutine method goes through that process's life."""

    def __init__(self, inner: object, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        @functools.wraps(method)
        async def through(*args: Any, **kwargs: Any) -> Any:
            return await self._life.touch(lambda: method(*args, **kwargs))

        return through


@dataclasses.dataclass(kw_only=True)
class Process:
    """One agent with its handles."""

    agent: service.Agent
    life: Life
    transport: memory.MemoryTransport
    driver: simulated.SimulatedDriver
    parts: parts.Parts


class Conductor:
    """Commands agents, acknowledges and keeps what they report."""

    def __init__(self, bus: memory.MemoryBus) -> None:
        self.transport = memory.MemoryTransport(bus)
        self._server = rpc_server.Server(self.transport, addresses.conductor(), drain_seconds=0)
        self._client = rpc_client.Client(self.transport, addresses.Sender(addresses.Role.CONDUCTOR, "c"), timeout_seconds=60)
        self.received: list[messages.Message] = []
        self.senders: list[str] = []
        self.registered: dict[str, str] = {}
        #: Kinds of messages that are received and not answered, as if the answer had been lost.
        self.deaf_to: set[type[messages.Message]] = set()
        #: Raised in answer to a kind of message.
        self.refuses: dict[type[messages.Message], errors.Error] = {}
        self.changed = asyncio.Condition()
        for kind in (
            messages.RegisterHost,
            messages.Heartbeat,
            messages.SignOff,
            messages.ReportInventory,
            messages.TransferStarted,
            messages.PostCopyStarted,
            messages.ActionTaken,
            messages.TransferEnded,
            messages.TransferProgressed,
        ):
            self._server.register(kind, self._receive)

    async def start(self) -> None:
        await self.transport.open()
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()
        await self.transport.close()

    async def _receive(self, sender: str, message: messages.Message) -> messages.Message | None:
        async with self.changed:
            self.received.append(message)
            self.senders.append(sender)
            self.changed.notify_all()
        if type(message) in self.refuses:
            raise self.refuses[type(message)]
        if type(message) in self.deaf_to:
            await asyncio.get_running_loop().create_future()
        if isinstance(message, messages.RegisterHost):
            self.registered[message.name] = message.incarnation
            return messages.HostAccepted(host_id=1)
        if isinstance(message, messages.Heartbeat):
            return messages.HeartbeatNoted(is_known=self.registered.get(message.name) == message.incarnation)
        return None

    def of(self, kind: type[R]) -> list[R]:
        """Give what was received of a kind, as often as it came."""
        return [message for message in self.received if isinstance(message, kind)]

    async def wait_for(self, kind: type[R], count: int = 1, seconds: float = 600) -> R:
        """Wait until so many of a kind have come, and give the last of those."""
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    async def ask(self, host_name: str, command: messages.Request[R], timeout_seconds: float = 60) -> R:
        """Send a command once."""
        return await self._client.call(addresses.agent(host_name), command, timeout_seconds)

    async def insist(self, host_name: str, command: messages.Request[R]) -> R:
        """Send a command until it is answered, as a conductor does."""
        while True:
            try:
                return await self.ask(host_name, command, 5)
            except (errors.Unavailable, errors.RpcTimeout):
                await asyncio.sleep(0.3)


class Rig:
    """Two hosts, one guest, a conductor, and the agents that a test starts."""

    def __init__(self, **world_fields: Any) -> None:
        self.clock: wherry_clock.Clock = virtual_time.virtual_clock()
        self.boot_clock = virtual_boot.VirtualBootClock(self.clock)
        self.world = simulated.World(clock=self.clock, **world_fields)
        self.disturb = simulated.Disturbances(self.world)
        self.bus = memory.MemoryBus()
        self.conductor = Conductor(self.bus)
        self.config = wherry_config.Config()
        self.storages: dict[str, MemoryStorage] = {}
        self.agents: dict[str, Process] = {}
        self._all: list[Process] = []

    def configure(self, section: str, **values: Any) -> None:
        """Change options for the agents started from now on."""
        changed = dataclasses.replace(getattr(self.config, section), **values)
        self.config = dataclasses.replace(self.config, **{section: changed})

    def add_hosts(self, link_mib_per_s: float = 1000.0, **fields: Any) -> None:
        for name in ("h1", "h2"):
            self.world.add_host(name, link_mib_per_s=link_mib_per_s, **fields)

    async def start_agent(self, host_name: str, life: Life | None = None) -> Process:
        life = life or Life()
        transport = memory.MemoryTransport(self.bus)
        await transport.open()
        settings = base.HostSettings(name=host_name, connection_uri=self.world.uri(host_name))
        driver = simulated.SimulatedDriver(self.world, settings)
        place = self.storages.setdefault(host_name, MemoryStorage())
        made = parts.Parts(
            host=settings,
            driver=cast("base.HypervisorDriver", Mortal(driver, life)),
            client=rpc_client.Client(transport, addresses.Sender(addresses.Role.AGENT, host_name), timeout_seconds=60),
            server=rpc_server.Server(transport, addresses.agent(host_name), drain_seconds=1),
            config=self.config,
            clock=self.clock,
            boot_clock=self.boot_clock,
            journal=journal.Journal(cast("storage.Storage", Mortal(place, life)), self.clock),
            images=directory.ImageDirectory(self.config.images.directory),
        )
        agent = service.Agent(made)
        process = Process(agent=agent, life=life, transport=transport, driver=driver, parts=made)

        def buried() -> None:
            transport.sever()
            # What the kernel does for a dead process: its locks and its connections go.
            place.is_locked = False
            if life.loses_unsynced:
                place.notes = dict(place.on_disk)
            asyncio.get_running_loop().create_task(driver.close())

        life.on_death = buried
        self._all.append(process)
        self.agents[host_name] = process
        starting = asyncio.create_task(agent.start())
        done, _ = await asyncio.wait((starting,), timeout=5)
        if done:
            starting.result()
        elif not life.is_dead:
            raise AssertionError("the agent does not start")
        else:
            starting.cancel()
        return process

    async def start(self, *names: str) -> None:
        """Start the conductor and agents, and wait until these are up."""
        await self.conductor.start()
        for name in names or ("h1", "h2"):
            await (await self.start_agent(name)).agent.ready()

    def kill(self, host_name: str) -> None:
        """Kill an agent: nothing that it does from now on has any effect, and it is not told."""
        self.agents[host_name].life.die()

    async def stop(self) -> None:
        for process in self._all:
            process.life.dies_at = None
            if process.life.is_dead:
                await process.parts.background.stop()
                await process.transport.close()
            else:
                await process.agent.stop()
                await process.transport.close()
        await self.conductor.stop()

    # ------------------------------------------------------------- the flow, in pieces

    def ids(self, spec: simulated.GuestSpec, operation_id: str = OPERATION, epoch: int = 1) -> dict[str, Any]:
        return {"operation_id": operation_id, "epoch": epoch, "instance_uuid": spec.uuid}

    def plan(self, described: guest.Guest) -> migration.Plan:
        """Give a plan from h1 to h2 as the checks would have made it."""
        able = self.world.host("h2").profile.capabilities
        facts = migration.DestinationFacts(host="h2", connection_uri=self.world.uri("h2"), capabilities=able)
        return migration.Plan(source="h1", destination="h2", guest=described, facts=facts, storage=migration.StoragePlan())

    async def describe(self, host_name: str) -> host.HostDescription:
        """Describe a host past its agent."""
        settings = base.HostSettings(name=host_name, connection_uri=self.world.uri(host_name))
        onlooker = simulated.SimulatedDriver(self.world, settings)
        await onlooker.open()
        try:
            return await onlooker.describe_host()
        finally:
            await onlooker.close()

    async def described(self, spec: simulated.GuestSpec) -> guest.Guest:
        """Describe a guest at h1 past its agent."""
        settings = base.HostSettings(name="h1", connection_uri=self.world.uri("h1"))
        onlooker = simulated.SimulatedDriver(self.world, settings)
        await onlooker.open()
        try:
            return (await onlooker.describe_guests([spec.uuid]))[0]
        finally:
            await onlooker.close()

    async def planned(self, spec: simulated.GuestSpec, request: migration.LiveMigrationRequest | None = None, **ids: Any) -> dict[str, Any]:
        """Give the fields of a planned command for a guest at h1."""
        described = await self.described(spec)
        return {
            **self.ids(spec, **ids),
            "plan": self.plan(described),
            "request": request or migration.LiveMigrationRequest(microversion="2.1000"),
        }

    async def start_transfer(self, spec: simulated.GuestSpec, **request: Any) -> dict[str, Any]:
        """Prepare and start a transfer, and give the fields of further planned commands."""
        planned = await self.planned(spec, migration.LiveMigrationRequest(microversion="2.1000", **request))
        await self.conductor.ask("h2", messages.PrepareDestination(**planned))
        await self.conductor.ask("h1", messages.StartTransfer(**planned))
        return planned

    async def settle(self, spec: simulated.GuestSpec) -> truth.Verdict:
        """Read both sides until they give a verdict, as the conductor's step does."""
        while True:
            source = await self.conductor.insist("h1", messages.ObserveGuest(**self.ids(spec)))
            destination = await self.conductor.insist("h2", messages.ObserveGuest(**self.ids(spec)))
            sides = truth.Sides(
                source=source.observation.state,
                destination=destination.observation.state,
                has_job=source.observation.has_job or destination.observation.has_job,
            )
            verdict = truth.verdict(sides, source.intent)
            if verdict is not truth.Verdict.WAIT:
                return verdict
            await asyncio.sleep(0.2)

    async def drive(self, spec: simulated.GuestSpec, **requested: Any) -> truth.Verdict:
        """Run a whole migration as a conductor would, insisting on each answer."""
        ids, ask = self.ids(spec), self.conductor.insist
        described = (await ask("h1", messages.DescribeGuest(**ids))).guest
        request = migration.LiveMigrationRequest(microversion="2.1000", **requested)
        source = await self.describe("h1")
        facts = (await ask("h2", messages.CheckDestination(**ids, guest=described, request=request, source=source))).facts
        stored = (await ask("h1", messages.CheckSource(**ids, guest=described, request=request, facts=facts))).storage
        await ask("h2", messages.ReleaseCheck(**ids, probes=facts.probes))
        plan = migration.Plan(source="h1", destination="h2", guest=described, facts=facts, storage=stored)
        planned = {**ids, "plan": plan, "request": request}
        await ask("h2", messages.PrepareDestination(**planned))
        await ask("h1", messages.StartTransfer(**planned))
        while not self.conductor.of(messages.TransferEnded):
            seen = await ask("h1", messages.ObserveGuest(**ids))
            if not seen.observation.has_job:
                break
            await asyncio.sleep(1)
        verdict = await self.settle(spec)
        if verdict is truth.Verdict.COMPLETED:
            await ask("h2", messages.FinishDestination(**planned))
            await ask("h1", messages.FinishSource(**planned))
        else:
            await ask("h2", messages.RollBackDestination(**planned))
            await ask("h1", messages.RollBackSource(**planned))
        return verdict

    def state_at(self, host_name: str, spec: simulated.GuestSpec) -> guest.GuestState:
        local = self.world.host(host_name).guests.get(spec.uuid)
        return local.state if local is not None else guest.GuestState.ABSENT
