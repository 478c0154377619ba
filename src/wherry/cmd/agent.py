# SPDX-License-Identifier: Apache-2.0
"""`wherry agent`: acts on the hypervisors of one or more hosts, in a process of its own, without the database."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar

from wherry import config as configs
from wherry.agent import service as agent_service
from wherry.cmd import parts, process, running, wiring
from wherry.drivers import base
from wherry.rpc import addresses


class AgentProcess(process.Process):
    """The agents of the hosts that this process serves, each with its own access to the bus, where it may speak for its host only."""

    name: ClassVar[str] = "agent"

    def __init__(self, config: configs.Config) -> None:
        wiring.require_bus(config)
        super().__init__(config)
        self._agents: list[agent_service.Agent] = []

    async def bring_up(self, stack: contextlib.AsyncExitStack) -> str:
        """As in process."""
        settings = wiring.hosts_of(self.config)
        for one in settings:
            await self._start_agent(stack, one)
        return f"Wherry's agent serves {', '.join(one.name for one in settings)}"

    async def apply(self, config: configs.Config) -> None:
        """As in process."""
        for agent in self._agents:
            await agent.reload(config)

    async def broken(self) -> None:
        """As in process."""
        await parts.any_refused(self._agents)

    async def _start_agent(self, stack: contextlib.AsyncExitStack, settings: base.HostSettings) -> None:
        transport = self.add_transport(stack, addresses.Role.AGENT, settings.name)
        await transport.open()
        agent = await self.start_part(stack, lambda: wiring.make_agent(self.around, settings, transport))
        self._agents.append(agent)
        self.health.watch(lambda: parts.agent_lacks(agent))


def run(config_files: Sequence[str]) -> int:
    """Serve until told to end."""
    return running.run(AgentProcess, config_files)
