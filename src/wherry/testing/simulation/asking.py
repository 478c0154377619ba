# SPDX-License-Identifier: Apache-2.0
"""What the clients of a schedule ask: each request has its method, by its name in the schedule."""

from __future__ import annotations

from wherry.testing.simulation import clients as clients_module
from wherry.testing.simulation import schedule, system


class Asking:
    """The clients of one schedule, and whom they asked something of that the judge must know."""

    def __init__(self, of: system.System, clients: clients_module.Clients) -> None:
        self._system = of
        self._clients = clients
        #: Guests whose power was asked to be changed.
        self.powered: dict[str, None] = {}

    async def ask_live_migrate(self, deed: schedule.Deed) -> None:
        await self._clients.live_migrate(deed.name, **deed.keys)

    async def ask_abort(self, deed: schedule.Deed) -> None:
        await self._clients.abort(deed.name)

    async def ask_force_complete(self, deed: schedule.Deed) -> None:
        await self._clients.steer(deed.name, "force_complete")

    async def ask_resume_post_copy(self, deed: schedule.Deed) -> None:
        await self._clients.steer(deed.name, "resume_post_copy")

    async def ask_give_up(self, deed: schedule.Deed) -> None:
        await self._clients.steer(deed.name, "give_up")

    async def ask_power(self, deed: schedule.Deed) -> None:
        self.powered[deed.name] = None
        await self._clients.act(deed.name, {deed.keys["action"]: None})

    async def ask_action(self, deed: schedule.Deed) -> None:
        await self._clients.act(deed.name, deed.keys)

    async def ask_reset_state(self, deed: schedule.Deed) -> None:
        await self._clients.act(deed.name, {"os-resetState": {"state": "active"}})

    async def ask_check(self, deed: schedule.Deed) -> None:
        body = {"os-checkMigrateLive": {"host": None, "block_migration": "auto"}}
        await self._clients.act(deed.name, body, version="2.1000")

    async def ask_look(self, deed: schedule.Deed) -> None:
        uuid = self._system.uuid(deed.name)
        for path in (f"/v2.1/servers/{uuid}", f"/v2.1/servers/{uuid}/os-instance-actions", "/v2.1/os-migrations", "/v2.1/os-services"):
            await self._clients.ask("GET", path)
