# SPDX-License-Identifier: Apache-2.0
"""`wherry all-in-one`: api, conductor and the agents of every host in one process, one event loop, one SQLite file.

The same parts on the same paths as in separate processes; only the bus is in memory, unless [bus] names one that others share.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import signal
from collections.abc import Sequence

import uvloop

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.agent import service as agent_service
from wherry.api import service as api_service
from wherry.cmd import wiring
from wherry.conductor import service as conductor_service
from wherry.db import store as stores
from wherry.rpc import addresses
from wherry.rpc.transports import base as transports
from wherry.rpc.transports import memory
from wherry.telemetry import logs, metrics

_log = logs.get_logger(__name__)


class AllInOne:
    """The whole system in one object."""

    def __init__(self, config: configs.Config, clock: clocks.Clock | None = None) -> None:
        self._config = config
        self._around = wiring.Surroundings(config=config, clock=clock or clocks.LoopClock(), metrics=metrics.Metrics())
        self._stack = contextlib.AsyncExitStack()
        self._bus = memory.MemoryBus()
        self._conductor: conductor_service.Conductor | None = None
        self._agents: list[agent_service.Agent] = []
        self._api: api_service.Api | None = None

    async def start(self) -> str:
        """Start everything; gives the API's address. What was started is stopped again when something cannot be."""
        async with contextlib.AsyncExitStack() as stack:
            address = await self._start(stack)
            self._stack = stack.pop_all()
        return address

    async def stop(self) -> None:
        """Stop everything, the API first. Migrations go on in their hypervisors."""
        await self._stack.aclose()

    async def reload(self, config_files: Sequence[str]) -> configs.Reloaded:
        """Read configuration and policies again, and go on with what may change while a process runs.

        :raises ConfigInvalid: what is wrong with them; what could not be read is as it was.
        """
        reloaded = configs.reload(self._config, config_files)
        self._config = reloaded.config
        logs.set_debug(reloaded.config.default.debug)
        if self._conductor is not None:
            self._conductor.reload(reloaded.config)
        for agent in self._agents:
            await agent.reload(reloaded.config)
        if self._api is not None:
            self._api.reload_policies()
        return reloaded

    async def broken(self) -> None:
        """Wait for ever, or until one of the parts cannot go on.

        :raises Error: why.
        """
        waiting = [asyncio.create_task(agent.refused()) for agent in self._agents]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waiting:
                task.cancel()

    async def _start(self, stack: contextlib.AsyncExitStack) -> str:
        around = self._around
        _prepare_directory(self._config.default.state_path)
        store = await stores.Store.open(self._config.database, around.clock)
        stack.push_async_callback(store.close)
        await store.upgrade()
        conductor = self._conductor = wiring.make_conductor(around, store, await self._transport(stack, addresses.Role.CONDUCTOR))
        await conductor.start()
        stack.push_async_callback(conductor.stop)
        for settings in wiring.hosts_of(self._config):
            agent = wiring.make_agent(around, settings, await self._transport(stack, addresses.Role.AGENT, settings.name))
            await agent.start()
            stack.push_async_callback(agent.stop)
            self._agents.append(agent)
        api = self._api = wiring.make_api(around, store, await self._transport(stack, addresses.Role.API))
        address = await api.start()
        stack.push_async_callback(api.stop)
        _log.info("All in one is up.", address=address, hosts=len(self._agents))
        return address

    async def _transport(self, stack: contextlib.AsyncExitStack, role: addresses.Role, name: str = "") -> transports.Transport:
        """Give one part its access to the bus, open."""
        transport: transports.Transport
        if self._config.bus.is_in_memory:
            transport = memory.MemoryTransport(self._bus, max_message_bytes=self._config.bus.max_message_bytes)
        else:
            transport = wiring.make_transport(self._config, addresses.Sender(role, name or self._config.default.host))
        await transport.open()
        stack.push_async_callback(transport.close)
        return transport


def run(config_files: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP has configuration and policies read again."""
    config = configs.load(config_files)
    logs.configure(config.default.log_format, is_debug=config.default.debug)
    uvloop.run(_serve(config, config_files))
    return 0


async def _serve(config: configs.Config, config_files: Sequence[str]) -> None:
    stopping, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    # From the first moment on, for unhandled it would end the process.
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    service = AllInOne(config)
    address = await service.start()
    print(f"Wherry serves the Compute API at {address}/v2.1", flush=True)
    broken = asyncio.create_task(service.broken())
    stopped = asyncio.create_task(stopping.wait())
    reloading = asyncio.create_task(_keep_reloading(service, hangup, config_files))
    try:
        done, _ = await asyncio.wait({broken, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (broken, stopped, reloading):
            task.cancel()
        await service.stop()


async def _keep_reloading(service: AllInOne, hangup: asyncio.Event, config_files: Sequence[str]) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            reloaded = await service.reload(config_files)
        except errors.Error as error:
            _log.error("The configuration cannot be read again.", slug=error.slug, error=error.message, remedy=error.remedy)
        else:
            _log.info(
                "The configuration was read again.", changed=list(reloaded.changed), needs_restart=list(reloaded.needs_restart) or None
            )


def _prepare_directory(path: str) -> None:
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.ConfigInvalid(
            where="[DEFAULT] state_path",
            problem=f"{path} cannot be made: {error.strerror or error}",
            instead="Name a directory that this user may write.",
        ) from error
