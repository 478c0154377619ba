# SPDX-License-Identifier: Apache-2.0
"""`wherry api`: the Compute API over HTTP, in a process of its own. Any number run; none holds anything."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from wherry import config as configs
from wherry.cmd import process, running, wiring
from wherry.rpc import addresses

if TYPE_CHECKING:
    from wherry.api import service as api_service


class ApiProcess(process.Process):
    """An api. It listens from the first moment on, and refuses requests until the database is there."""

    name: ClassVar[str] = "api"

    def __init__(self, config: configs.Config) -> None:
        wiring.require_shared(config)
        super().__init__(config)
        self._api: api_service.Api | None = None

    async def bring_up(self, stack: contextlib.AsyncExitStack) -> str:
        """As in process."""
        store = await self.make_store(stack)
        transport = self.add_transport(stack, addresses.Role.API)
        self._api = wiring.make_api(self.around, store, transport, self.health)
        stack.push_async_callback(self._api.stop)
        address = await self._api.start()
        await self.require_schema(store)
        await transport.open()
        await wiring.announce(self.around, store, address, stack)
        return f"Wherry serves the Compute API at {address}/v2.1"

    async def apply(self, config: configs.Config) -> None:
        """As in process."""
        if self._api is not None:
            self._api.reload(config)

    async def broken(self) -> None:
        """As in process."""
        if self._api is not None:
            await self._api.wait()


def run(config_files: Sequence[str]) -> int:
    """Serve until told to end."""
    return running.run(ApiProcess, config_files)
