# SPDX-License-Identifier: Apache-2.0
"""What the clients of a schedule ask: each request has its method, by its name in the schedule."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from wherry.testing.simulation import births, schedule, system
from wherry.testing.simulation import clients as clients_module


class Asking:
    """The clients of one schedule, and whom they asked something of that the judge must know."""

    def __init__(self, of: system.System, clients: clients_module.Clients) -> None:
        self._system = of
        self._clients = clients
        #: Guests whose power was asked to be changed, and servers whose state was reset.
        self.powered: dict[str, None] = {}
        self.reset: dict[str, None] = {}
        #: Operators who have a word to take back.
        self.operators = 0
        #: Requests of the schedule that are still to come, or not answered yet.
        self.open = 0

    @property
    def is_going_on(self) -> bool:
        """Whether somebody asks something still, or will."""
        return bool(self.operators or self.open)

    def expect(self, deeds: tuple[schedule.Deed, ...]) -> None:
        """Count the requests among a schedule's deeds as to come."""
        self.open += sum(_is_request(deed) for deed in deeds)

    def pass_over(self, deed: schedule.Deed) -> None:
        """Count a deed that is not done as over."""
        self.open -= _is_request(deed)

    def request(self, deed: schedule.Deed) -> Coroutine[Any, Any, None] | None:
        """Give what a client does to ask for this; None for a deed that is no request."""
        return self._ask(deed) if _is_request(deed) else None

    async def _ask(self, deed: schedule.Deed) -> None:
        try:
            await getattr(self, f"ask_{deed.what}")(deed)
        finally:
            self.open -= 1

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

    async def ask_create(self, deed: schedule.Deed) -> None:
        body = {"name": deed.name, "imageRef": births.IMAGE, "flavorRef": births.FLAVOR, "networks": "none", **deed.keys}
        answer = await self._clients.ask("POST", "/v2.1/servers", body={"server": body})
        if answer.code == 202:
            self._system.made[deed.name] = answer.body["server"]["id"]

    async def ask_delete(self, deed: schedule.Deed) -> None:
        await self._clients.ask("DELETE", f"/v2.1/servers/{self._system.uuid(deed.name)}")

    async def call_dead(self, host: str, after_seconds: float, back_at: float) -> None:
        """Force a host's service down, and up again once the host is back; asked for until it is answered."""
        self.operators += 1
        clock = self._system.clock
        await clock.sleep(after_seconds)
        await self._force(host, is_down=True)
        await clock.sleep(max(0.0, back_at - clock.monotonic()))
        await self._force(host, is_down=False)
        self.operators -= 1

    async def _force(self, host: str, *, is_down: bool) -> None:
        while True:
            listed = await self._clients.ask("GET", f"/v2.1/os-services?host={host}")
            if listed.code == 200 and listed.body["services"]:
                path = f"/v2.1/os-services/{listed.body['services'][0]['id']}"
                if (await self._clients.ask("PUT", path, body={"forced_down": is_down})).code == 200:
                    return
            await self._system.clock.sleep(1.0)

    async def ask_reset_state(self, deed: schedule.Deed) -> None:
        self.reset[deed.name] = None
        await self._clients.act(deed.name, {"os-resetState": {"state": "active"}})

    async def ask_check(self, deed: schedule.Deed) -> None:
        body = {"os-checkMigrateLive": {"host": None, "block_migration": "auto"}}
        await self._clients.act(deed.name, body, version="2.1000")

    async def ask_look(self, deed: schedule.Deed) -> None:
        uuid = self._system.uuid(deed.name)
        for path in (f"/v2.1/servers/{uuid}", f"/v2.1/servers/{uuid}/os-instance-actions", "/v2.1/os-migrations", "/v2.1/os-services"):
            await self._clients.ask("GET", path)


def _is_request(deed: schedule.Deed) -> bool:
    return hasattr(Asking, f"ask_{deed.what}")
