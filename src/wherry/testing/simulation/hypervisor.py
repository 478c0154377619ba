# SPDX-License-Identifier: Apache-2.0
"""One agent's hold of its simulated hypervisor: dead with the agent, but for calls that the hypervisor had taken already."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from wherry.drivers import base, simulated
from wherry.model import migration
from wherry.testing.simulation import perils, process

#: Told of each call: host, method, guest, and whether it has had its effect.
OnCall = Callable[[str, str, str, bool], None]
#: Entered for as long as a call lasts, given who makes it, the method and the guest.
InCall = Callable[[process.Process, str, str], contextlib.AbstractContextManager[None]]
#: How likely a call goes on in the hypervisor although its caller dies.
_CARRIED_ON = 0.5


class SimulatedHypervisor(simulated.SimulatedDriver):
    """The driver object of one agent."""

    def __init__(
        self,
        world: simulated.World,
        settings: base.HostSettings,
        *,
        of: process.Process,
        dangers: perils.Perils,
        chance: random.Random,
        on_call: OnCall,
        in_call: InCall,
    ) -> None:
        super().__init__(world, settings)
        self._of = of
        self._perils = dangers
        self._chance = chance
        self._on_call = on_call
        self._in_call = in_call

    def die(self) -> None:
        """Hear no signal any more."""
        self._is_open = False
        for receiver in self._receivers:
            self._world.host(self._name).receivers.remove(receiver)
        self._receivers.clear()

    async def start_transfer(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        await self._carry(super().start_transfer(task, plan, options))

    async def abort_transfer(self, instance_uuid: str) -> None:
        await self._carry(super().abort_transfer(instance_uuid))

    async def start_post_copy(self, instance_uuid: str) -> None:
        await self._carry(super().start_post_copy(instance_uuid))

    async def clean_up_source(self, task: base.Task, plan: migration.Plan) -> None:
        await self._carry(super().clean_up_source(task, plan))

    async def pause_guest(self, instance_uuid: str) -> None:
        await self._carry(super().pause_guest(instance_uuid))

    async def resume_guest(self, instance_uuid: str) -> None:
        await self._carry(super().resume_guest(instance_uuid))

    async def start_guest(self, instance_uuid: str) -> None:
        await self._carry(super().start_guest(instance_uuid))

    async def power_off_guest(self, instance_uuid: str) -> None:
        await self._carry(super().power_off_guest(instance_uuid))

    async def _carry(self, call: Coroutine[Any, Any, None]) -> None:
        """Make a call; one that its hypervisor has taken goes on when its caller dies, and nobody hears its answer."""
        if self._chance.random() >= _CARRIED_ON:
            await call
            return
        task = process.spawn_outside(call, "hypervisor call")
        task.add_done_callback(_look_at)
        await asyncio.shield(task)
        if not self._of.is_alive:
            await process.freeze()

    @contextlib.asynccontextmanager
    async def _calling(self, method: str, instance_uuid: str = "") -> AsyncIterator[simulated.Host]:
        is_carried = process.current() is None
        self._on_call(self._name, method, instance_uuid, False)
        if not is_carried:
            await self._perils.pass_by(self._of, f"call {method}")
        with self._in_call(self._of, method, instance_uuid):
            async with super()._calling(method, instance_uuid) as here:
                if not is_carried and not self._of.is_alive:
                    await process.freeze()
                yield here
                self._on_call(here.name, method, instance_uuid, True)
        if is_carried:
            self._perils.meet(self._of, f"done {method}")
        else:
            await self._perils.pass_by(self._of, f"done {method}")


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
