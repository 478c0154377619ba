# SPDX-License-Identifier: Apache-2.0
"""`wherry agent`: acts on the hypervisors of one or more hosts, in a process of its own, without the database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from wherry import config as configs
from wherry.cmd import parts, process, running, wiring
from wherry.rpc import addresses

if TYPE_CHECKING:
    from wherry.agent import service as agent_service
    from wherry.drivers import base


class AgentProcess(process.Process):
    """The agents of the hosts that this process serves, each with its own access to the bus, where it may speak for its host only."""

    name: ClassVar[str] = "agent"

    def __init__(self, config: configs.Config) -> None:
        wiring.require_bus(config)
        super().__init__(config)
        self._agents: list[agent_service.Agent] = []
        self._host_stacks: list[contextlib.AsyncExitStack] = []

    async def bring_up(self, stack: contextlib.AsyncExitStack) -> str:
        """As in process. Hosts side by side, so that neither a bus that is away nor a hypervisor that hangs is waited for once a host."""
        settings = wiring.hosts_of(self.config)
        stack.push_async_callback(self._stop_hosts)
        try:
            async with asyncio.TaskGroup() as group:
                for one in settings:
                    group.create_task(self._start_host(one))
        except ExceptionGroup as several:
            # The first that happened; the others were cancelled for it.
            raise several.exceptions[0] from several
        return f"Wherry's agent serves {', '.join(one.name for one in settings)}"

    async def apply(self, config: configs.Config) -> None:
        """As in process."""
        for agent in self._agents:
            await agent.reload(config)

    async def broken(self) -> None:
        """As in process."""
        await parts.any_refused(self._agents)

    async def _start_host(self, settings: base.HostSettings) -> None:
        stack = contextlib.AsyncExitStack()
        self._host_stacks.append(stack)
        transport = self.add_transport(stack, addresses.Role.AGENT, settings.name)
        await transport.open()
        agent = await self.start_part(stack, lambda: wiring.make_agent(self.around, settings, transport))
        self._agents.append(agent)
        self.health.watch(lambda: parts.agent_lacks(agent))

    async def _stop_hosts(self) -> None:
        await asyncio.gather(*(stack.aclose() for stack in self._host_stacks))


def run(config_files: Sequence[str]) -> int:
    """Serve until told to end."""
    return running.run(AgentProcess, config_files)
