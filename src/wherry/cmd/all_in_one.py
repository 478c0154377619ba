# SPDX-License-Identifier: Apache-2.0
"""`wherry all-in-one`: api, conductor and the agents of every host in one process, one event loop, one SQLite file.

The same parts on the same paths as in separate processes; only the bus is in memory, unless [bus] names one that others share.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Sequence
from typing import ClassVar

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.agent import service as agent_service
from wherry.api import service as api_service
from wherry.cmd import parts, process, running, wiring
from wherry.conductor import service as conductor_service
from wherry.rpc import addresses
from wherry.rpc.transports import base as transports
from wherry.rpc.transports import memory
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class AllInOne(process.Process):
    """The whole system in one object."""

    name: ClassVar[str] = "api"

    def __init__(self, config: configs.Config, clock: clocks.Clock | None = None) -> None:
        super().__init__(config, clock)
        self._bus = memory.MemoryBus()
        self._conductor: conductor_service.Conductor | None = None
        self._agents: list[agent_service.Agent] = []
        self._api: api_service.Api | None = None
        #: Where its API listens, once it is started.
        self.address = ""

    async def bring_up(self, stack: contextlib.AsyncExitStack) -> str:
        """As in process."""
        _prepare_directory(self.config.default.state_path)
        store = await self.make_store(stack)
        await self.until_there("the database", store.upgrade)
        self.watch_store(store)
        await self.keep_time(store)
        transport = await self._open_transport(stack, addresses.Role.CONDUCTOR)
        conductor = self._conductor = await self.start_part(stack, lambda: wiring.make_conductor(self.around, store, transport))
        self.health.watch(lambda: parts.conductor_lacks(conductor))
        for settings in wiring.hosts_of(self.config):
            agent = wiring.make_agent(self.around, settings, await self._open_transport(stack, addresses.Role.AGENT, settings.name))
            await agent.start()
            stack.push_async_callback(agent.stop)
            self._agents.append(agent)
            self.health.watch(functools.partial(parts.agent_lacks, agent))
        conductor.take_up()
        api = self._api = wiring.make_api(self.around, store, await self._open_transport(stack, addresses.Role.API), self.health)
        self.address = await api.start()
        stack.push_async_callback(api.stop)
        await wiring.announce(self.around, store, self.address, stack)
        _log.info("All in one is up.", address=self.address, hosts=len(self._agents))
        return f"Wherry serves the Compute API at {self.address}/v2.1"

    async def apply(self, config: configs.Config) -> None:
        """As in process."""
        if self._conductor is not None:
            self._conductor.reload(config)
        for agent in self._agents:
            await agent.reload(config)
        if self._api is not None:
            self._api.reload(config)

    async def broken(self) -> None:
        """As in process."""
        await parts.any_refused(self._agents)

    async def _open_transport(self, stack: contextlib.AsyncExitStack, role: addresses.Role, name: str = "") -> transports.Transport:
        transport = self.add_transport(stack, role, name)
        await transport.open()
        return transport

    def make_transport(self, sender: addresses.Sender) -> transports.Transport:
        """As in process, but for the bus inside."""
        if self.config.bus.is_in_memory:
            return memory.MemoryTransport(self._bus, max_message_bytes=self.config.bus.max_message_bytes)
        return super().make_transport(sender)


def run(config_files: Sequence[str]) -> int:
    """Serve until told to end."""
    return running.run(AllInOne, config_files)


def _prepare_directory(path: str) -> None:
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.ConfigInvalid(
            where="[DEFAULT] state_path",
            problem=f"{path} cannot be made: {error.strerror or error}",
            instead="Name a directory that this user may write.",
        ) from error
