# SPDX-License-Identifier: Apache-2.0
"""What the processes have in common: health, and a start that waits for the database however long it is away."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs
from wherry import errors, listener
from wherry.agent import backoff
from wherry.cmd import wiring
from wherry.rpc import addresses
from wherry.rpc.transports import base as transports
from wherry.telemetry import health as healths
from wherry.telemetry import logs, metrics

if TYPE_CHECKING:
    from wherry.db import store as stores

_log = logs.get_logger(__name__)

T = TypeVar("T")


class Part(Protocol):
    """A conductor or an agent, as far as every process treats it alike."""

    async def start(self) -> None:
        """Start it."""

    async def stop(self) -> None:
        """End in order."""


P = TypeVar("P", bound=Part)


class Process(abc.ABC):
    """A process around its parts. Starts them in order, stops them in the reverse one."""

    #: What it is called in [health].
    name: ClassVar[str]

    def __init__(self, config: configs.Config, clock: clocks.Clock | None = None) -> None:
        self.config = config
        self.clock = clocks.SetClock(clock or clocks.LoopClock())
        self._background = backgrounds.Background()
        self.health = healths.Health(self.clock)
        self.around = wiring.Surroundings(config=config, clock=self.clock, metrics=metrics.Metrics())
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> str:
        """Start everything, however long the database is away; gives what to tell about it."""
        async with contextlib.AsyncExitStack() as stack:
            await self._listen_for_probes(stack)
            said = await self.bring_up(stack)
            self._stack = stack.pop_all()
        self.health.started()
        return said

    async def stop(self) -> None:
        """Stop everything, the last first. Migrations go on in their hypervisors."""
        self.health.stopping()
        await self._stack.aclose()

    async def reload(self, config_files: Sequence[str]) -> configs.Reloaded:
        """Read configuration and policies again, and go on with what may change while a process runs.

        :raises ConfigInvalid: what is wrong with them; what could not be read is as it was.
        """
        reloaded = configs.reload(self.config, config_files)
        self.config = reloaded.config
        logs.set_debug(reloaded.config.default.debug)
        await self.apply(reloaded.config)
        return reloaded

    async def broken(self) -> None:
        """Wait for ever, or until one of the parts cannot go on.

        :raises Error: why.
        """
        await asyncio.Event().wait()

    @abc.abstractmethod
    async def bring_up(self, stack: contextlib.AsyncExitStack) -> str:
        """Start the parts, and have the stack stop them."""

    @abc.abstractmethod
    async def apply(self, config: configs.Config) -> None:
        """Have the parts go on with this configuration."""

    async def make_store(self, stack: contextlib.AsyncExitStack) -> stores.Store:
        """Make the store; it connects when it is first used."""
        # An agent has no database, and need not load what leads to one.
        from wherry.db import store as stores

        store = await stores.Store.open(self.config.database, self.clock)
        stack.push_async_callback(store.close)
        stack.push_async_callback(self._background.stop)
        return store

    async def require_schema(self, store: stores.Store) -> None:
        """Wait until the database is there, and see to it that its schema is one that this release can work with.

        :raises SchemaOutdated: it is of an earlier release.
        """
        state = await self.until_there("the database", store.check)
        if not state.is_usable:
            raise errors.SchemaOutdated(told=state.told, needed=", ".join(state.pending))
        self.watch_store(store)
        await self.keep_time(store)

    async def keep_time(self, store: stores.Store) -> None:
        """Go by the database's time where this machine's is wrong."""
        from wherry.cmd import timekeeping

        keeper = timekeeping.Timekeeper(store=store, clock=self.clock, section=self.config.database)
        await self.until_there("the database", keeper.compare)
        keeper.keep(self._background)

    def watch_store(self, store: stores.Store) -> None:
        """Call the process not ready while the database does not answer."""
        limit = self.config.health.probe_timeout_seconds

        async def check() -> Iterable[healths.Lack]:
            try:
                async with asyncio.timeout(limit):
                    state = await store.check()
            except (errors.DatabaseUnavailable, TimeoutError):
                return (healths.Lack(what="database", reason="the database does not answer"),)
            if state.is_usable:
                return ()
            return (healths.Lack(what="schema", reason=f"{state.told} Run `wherry db upgrade`."),)

        self.health.watch(check)

    def make_transport(self, sender: addresses.Sender) -> transports.Transport:
        """Make one part's access to the bus."""
        return wiring.make_transport(self.config, sender)

    def add_transport(self, stack: contextlib.AsyncExitStack, role: addresses.Role, name: str = "") -> transports.Transport:
        """Give one part its access to the bus, which must be opened. While the bus is away the process is not ready.

        :param name: who the part is; nothing = named as this process.
        """
        transport = self.make_transport(addresses.Sender(role, name or self.config.default.host))
        stack.push_async_callback(transport.close)

        async def check() -> Iterable[healths.Lack]:
            problem = transport.problem
            return () if problem is None else (healths.Lack(what="bus", reason=f"no message gets through: {problem}"),)

        self.health.watch(check)
        return transport

    async def start_part(self, stack: contextlib.AsyncExitStack, make: Callable[[], P]) -> P:
        """Make and start a part; when the database goes away meanwhile, stop it and do so again."""

        async def attempt() -> P:
            part = make()
            try:
                await part.start()
            except BaseException:
                with contextlib.suppress(errors.Unavailable):
                    await part.stop()
                raise
            return part

        part = await self.until_there("the database", attempt)
        stack.push_async_callback(part.stop)
        return part

    async def until_there(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do something that needs what may be away, again and again until it is there."""
        section = self.config.default
        pauses = backoff.Backoff(section.start_retry_initial_seconds, section.start_retry_max_seconds)
        said = ""
        while True:
            self.health.wait_for(f"waiting for {what}")
            try:
                done = await work()
            except errors.Unavailable as error:
                if error.message != said:
                    said = error.message
                    _log.warning(f"The start waits for {what}.", **logs.told(error))
                await self.clock.sleep(pauses.next_seconds())
                continue
            if pauses.has_failed:
                _log.info(f"The start goes on: {what} is there.")
            return done

    async def _listen_for_probes(self, stack: contextlib.AsyncExitStack) -> None:
        section = self.config.health
        port: int | None = getattr(section, f"{self.name}_port")
        if port is None:
            return
        probes = listener.Listener(self._answer_probe, section.bind_host, port, options=f"[health] bind_host, {self.name}_port")
        address = await probes.start()
        stack.push_async_callback(probes.stop)
        _log.info("Health and metrics are told.", action="health.started", address=address)

    async def _answer_probe(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Be an ASGI application."""
        del receive
        path, method = scope["path"], scope["method"]
        answer = await self.health.answer(path)
        if answer is None and path == healths.METRICS_PATH:
            answer = healths.metrics_answer(self.around.metrics)
        if answer is None:
            answer = healths.Answer(status=404, content_type="text/plain", body=b"Ask for /healthz/live, /healthz/ready or /metrics.\n")
        elif method not in ("GET", "HEAD"):
            answer = healths.Answer(status=405, content_type="text/plain", body=b"Use GET.\n")
        headers = [(b"content-type", answer.content_type.encode()), (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
