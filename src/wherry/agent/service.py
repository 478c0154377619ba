# SPDX-License-Identifier: Apache-2.0
"""The agent of one host, put together: started, reloaded, stopped. One process may hold many.

Wires parts; what they do stands in their own modules.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from wherry import background
from wherry import config as wherry_config
from wherry.agent import backoff, building, endpoints, fencing, move_endpoints, recovery
from wherry.agent import destination as wherry_destination
from wherry.agent import inventory as wherry_inventory
from wherry.agent import moves as wherry_moves
from wherry.agent import parts as wherry_parts
from wherry.agent import power as wherry_power
from wherry.agent import registration as wherry_registration
from wherry.agent import source as wherry_source
from wherry.drivers import base
from wherry.model import host as model_host
from wherry.telemetry import health, logs

_log = logs.get_logger(__name__)


class Agent:
    """One host's agent. Its transport must be open before start(), and is closed by whoever opened it."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self._source = wherry_source.Source(parts)
        self._destination = wherry_destination.Destination(parts)
        self._fence = fencing.Fence(parts, self._source.end_watch)
        self._inventory = wherry_inventory.Inventory(parts, self._on_unknown)
        self._registration: wherry_registration.Registration | None = None
        self._is_ready = asyncio.Event()
        self._unsubscribe: Callable[[], None] | None = None

    @property
    def host(self) -> str:
        """Name of the host that it serves."""
        return self._parts.host.name

    async def start(self) -> None:
        """Take the journal, listen, and bring the rest up in the background: no hypervisor that hangs keeps others waiting.

        :raises JournalLocked: when another agent has the journal.
        """
        predecessors = await self._parts.journal.open(self._parts.incarnation)
        self._registration = wherry_registration.Registration(self._parts, predecessors, self._inventory.report_all)
        power = wherry_power.Power(self._parts)
        moves = wherry_moves.Moves(self._parts)
        roles = endpoints.Roles(source=self._source, destination=self._destination, power=power, building=building.Building(self._parts))
        endpoints.Endpoints(self._fence, roles, self._inventory).register(self._parts.server)
        move_endpoints.MoveEndpoints(self._fence, moves, self._inventory).register(self._parts.server)
        await self._parts.server.start()
        self._parts.background.spawn(self._bring_up(self._registration), f"bring up {self.host}")

    async def ready(self) -> None:
        """Wait until the hypervisor has answered and what went on without an agent has been taken up."""
        await self._is_ready.wait()

    async def refused(self) -> None:
        """Wait for ever, or until a conductor refuses the host: the process should end, naming the other, its transfers going on.

        :raises HostRefused: then.
        """
        registration = self._registration
        if registration is None:
            raise RuntimeError("start() comes first")
        await registration.is_refused.wait()
        if registration.refusal is not None:
            raise registration.refusal

    def lacks(self) -> list[health.Lack]:
        """Say what keeps the host from being served; nothing when it is."""
        found = []
        if not self._is_ready.is_set():
            found.append(health.Lack(what="hypervisor", host=self.host, reason="the hypervisor has not been reached yet"))
        elif self._inventory.is_hypervisor_away:
            found.append(health.Lack(what="hypervisor", host=self.host, reason="the hypervisor does not answer"))
        if self._is_ready.is_set() and (self._registration is None or not self._registration.is_heard):
            found.append(health.Lack(what="conductor", host=self.host, reason="no conductor hears the agent"))
        return found

    async def stop(self) -> None:
        """Stop listening and watching. Transfers go on; the next agent takes them up. Idempotent."""
        await self._parts.server.stop()
        if self._registration is not None:
            await self._registration.sign_off()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await self._parts.background.stop()
        await self._parts.driver.close()
        await self._parts.journal.close()

    async def reload(self, config: wherry_config.Config) -> None:
        """Apply a changed configuration, also to the transfers under way."""
        self._parts.config = config
        # The host's description says some of it.
        self._inventory.report_all()
        await self._source.reload()

    async def _bring_up(self, registration: wherry_registration.Registration) -> None:
        description = await self._connect()
        self._unsubscribe = self._parts.driver.subscribe(self._on_signal)
        await recovery.recover(self._parts, self._source)
        self._is_ready.set()
        self._parts.background.spawn(registration.run(description), f"register {self.host}")
        self._parts.background.spawn(self._inventory.run(), f"inventory {self.host}")
        forget = functools.partial(self._destination.forget_questions, self._fence.when_free)
        pause = self._parts.config.agent.inventory_interval_seconds
        forgetting = background.repeat(forget, "Forgetting questions", every_seconds=pause, clock=self._parts.clock)
        self._parts.background.spawn(forgetting, f"questions {self.host}")
        await self._parts.journal.prune(self._parts.config.agent.journal_retention_days)

    async def _connect(self) -> model_host.HostDescription:
        section = self._parts.config.agent
        pauses = backoff.Backoff(section.reconnect_initial_seconds, section.reconnect_max_seconds)
        while True:
            try:
                await self._parts.driver.open()
                return await self._parts.describe()
            except Exception as error:
                # Whatever it is: nobody else would try again.
                if not pauses.has_failed:
                    _log.warning("The hypervisor is not reached yet", host=self.host, **logs.told(error))
                await self._parts.clock.sleep(pauses.next_seconds())

    def _on_signal(self, signal: base.Signal) -> None:
        self._source.on_signal(signal)
        self._inventory.on_signal(signal)

    def _on_unknown(self) -> None:
        if self._registration is not None:
            self._registration.again()
