# SPDX-License-Identifier: Apache-2.0
"""Cleaning that is owed to a host that was away: the migration ends without waiting for it, the host's return pays it."""

from __future__ import annotations

from typing import Any

from wherry import config as configs
from wherry import errors
from wherry.conductor import drive
from wherry.conductor import lease as leases
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Commands that may be owed, by the name under which they are stored.
_COMMANDS: dict[str, type[messages.Request[Any]]] = {
    "FinishDestination": messages.FinishDestination,
    "FinishSource": messages.FinishSource,
    "RollBackDestination": messages.RollBackDestination,
    "RollBackSource": messages.RollBackSource,
}


async def owe(on: drive.Drive, host: str, command: messages.PlannedCommand, why: errors.Error) -> None:
    """Store a command that a host could not be given."""
    _log.warning("A host is owed its cleaning.", migration_id=on.operation.id, host=host, command=type(command).__name__, slug=why.slug)
    body = command.model_dump(mode="json")
    await on.store.run(lambda uow: uow.chores.add(on.operation.id, host, type(command).__name__, body))


class Chores:
    """Gives hosts what they are owed, at their return and from time to time."""

    def __init__(self, *, store: stores.Store, agents: clients.Client, lease: leases.Lease, section: configs.ConductorSection) -> None:
        self._store = store
        self._agents = agents
        self._lease = lease
        self._section = section

    async def pay(self, host: str | None = None) -> None:
        """Send what is owed to this host, or to all; what fails again stays owed."""
        for chore in await self._store.read(lambda uow: uow.chores.list(host)):
            self._lease.require()
            command = _COMMANDS[chore.command].model_validate(chore.body)
            try:
                await self._agents.call(addresses.agent(chore.host), command)
            except errors.StaleEpoch:
                _log.info("A host had been given its cleaning before.", migration_id=chore.operation_id, host=chore.host)
            except errors.Error as error:
                _log.info("A host is still owed its cleaning.", migration_id=chore.operation_id, host=chore.host, slug=error.slug)
                continue
            await self._store.run(_done(chore.id))
            _log.info("A host was given its cleaning.", migration_id=chore.operation_id, host=chore.host, command=chore.command)


def _done(chore_id: int) -> stores.Unit[None]:
    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.chores.remove(chore_id)

    return unit
