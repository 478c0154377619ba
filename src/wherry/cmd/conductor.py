# SPDX-License-Identifier: Apache-2.0
"""`wherry conductor`: drives migrations, in a process of its own. Any number run; each migration is one conductor's at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from wherry import config as configs
from wherry.cmd import parts, process, running, wiring
from wherry.rpc import addresses

if TYPE_CHECKING:
    from wherry.conductor import service as conductor_service


class ConductorProcess(process.Process):
    """A conductor."""

    name: ClassVar[str] = "conductor"

    def __init__(self, config: configs.Config) -> None:
        wiring.require_shared(config)
        super().__init__(config)
        self._conductor: conductor_service.Conductor | None = None

    async def bring_up(self, stack: contextlib.AsyncExitStack) -> str:
        """As in process."""
        store = await self.make_store(stack)
        await self.require_schema(store)
        transport = self.add_transport(stack, addresses.Role.CONDUCTOR)
        await transport.open()
        conductor = self._conductor = await self.start_part(stack, lambda: wiring.make_conductor(self.around, store, transport))
        conductor.take_up()
        self.health.watch(lambda: parts.conductor_lacks(conductor))
        return f"Wherry's conductor drives as {conductor.id}"

    async def apply(self, config: configs.Config) -> None:
        """As in process."""
        if self._conductor is not None:
            self._conductor.reload(config)


def run(config_files: Sequence[str]) -> int:
    """Drive until told to end."""
    return running.run(ConductorProcess, config_files)
