# SPDX-License-Identifier: Apache-2.0
"""Cleaning that is owed to a host: the migration goes on without waiting for it; the return of a host that was away pays it.

Pays nothing that the server's record speaks against by then: the guest may have been started elsewhere meanwhile, or have come back.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from wherry import background as backgrounds
from wherry import errors
from wherry.conductor import drive
from wherry.conductor import lease as leases
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import chores as records
from wherry.db.repositories import migrations as migration_records
from wherry.model import server
from wherry.rpc import addresses, envelope, messages
from wherry.rpc import client as clients
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Commands that may be owed, by the name under which they are stored.
_COMMANDS: dict[str, type[messages.Request[Any]]] = {
    "FinishDestination": messages.FinishDestination,
    "FinishSource": messages.FinishSource,
    "RollBackDestination": messages.RollBackDestination,
    "RollBackSource": messages.RollBackSource,
    "DiscardArrival": messages.DiscardArrival,
    "RestoreSource": messages.RestoreSource,
    "ConfirmSource": messages.ConfirmSource,
    "ConfirmDestination": messages.ConfirmDestination,
    "DestroyGuest": messages.DestroyGuest,
}
#: Those of them that take the guest up there, or let it run: nothing for a host on which the server is not.
_TAKE_UP = frozenset({"FinishDestination", "RollBackSource", "RestoreSource"})
#: Touches no guest.
_NOTE = frozenset({"ConfirmDestination"})


class _Word(enum.Enum):
    """What the server's record says to a chore."""

    PAY = "pay"
    #: What is under way, or in dispute, decides first.
    WAIT = "wait"
    #: Paid now, it would harm.
    DROP = "drop"


async def owe(on: drive.Drive, host: str, command: messages.Request[Any], why: errors.Error) -> None:
    """Store a command that a host could not be given."""
    _log.warning("A host is owed its cleaning.", migration_id=on.operation.id, host=host, command=type(command).__name__, slug=why.slug)
    await on.store.run(lambda uow: store(uow, on, drive.Owed(host=host, command=command)))


async def store(uow: uows.UnitOfWork, on: drive.Drive, owed: drive.Owed) -> None:
    """Store it under the migration's own id, by which it claims the host until it is paid."""
    await uow.chores.add(on.ids["operation_id"], owed.host, type(owed.command).__name__, owed.command.model_dump(mode="json"))


async def ask_or_owe(on: drive.Drive, host: str, command: messages.Request[Any], *, tries: int = 0) -> None:
    """Give a host a command whose outcome changes nothing for the migration; it is owed it where it cannot be given.

    :param tries: how often the step is run again before that.
    """
    try:
        await on.ask(host, command)
    except errors.LeaseLost:
        raise
    except errors.StaleEpoch as error:
        await on.require_own(error)
    except errors.Error as error:
        if on.attempts < tries:
            raise
        await owe(on, host, command, error)


class Chores:
    """Gives hosts what they are owed, at their return and from time to time."""

    def __init__(self, *, store: stores.Store, agents: clients.Client, lease: leases.Lease, background: backgrounds.Background) -> None:
        self._store = store
        self._agents = agents
        self._lease = lease
        self._background = background

    def pay_soon(self, on: drive.Drive, owed: Iterable[drive.Owed]) -> None:
        """Have sent what was stored just now; nobody waits for it."""
        known_as = on.ids["operation_id"]
        for one in owed:
            self._background.spawn(self.pay(one.host, owed_for=known_as), f"have {one.host} forget migration {known_as}")

    async def pay(self, host: str | None = None, *, owed_for: str | None = None) -> None:
        """Send what is owed to this host, or to all, each beside the others; what fails again stays owed.

        :param owed_for: pay only what is owed for this migration.
        """
        owed: dict[str, list[records.Chore]] = {}
        for chore in await self._store.read(lambda uow: uow.chores.list(host, owed_for)):
            if chore.command in _COMMANDS:
                owed.setdefault(chore.host, []).append(chore)
            else:
                _log.warning("A host is owed what only a newer release knows.", host=chore.host, command=chore.command)
        await asyncio.gather(*(self._pay_all(chores) for chores in owed.values()))

    async def _pay_all(self, chores: Sequence[records.Chore]) -> None:
        for chore in chores:
            try:
                await self._pay(chore)
            except (errors.Unavailable, errors.Timeout) as error:
                _log.info("A host is still owed its cleaning.", host=chore.host, chores=len(chores), slug=error.slug)
                return
            except errors.LeaseLost:
                raise
            except errors.Error as error:
                _log.info("A host is still owed its cleaning.", migration_id=chore.operation_id, host=chore.host, slug=error.slug)

    async def _pay(self, chore: records.Chore) -> None:
        self._lease.require()
        told = {"migration_id": chore.operation_id, "host": chore.host, "command": chore.command}
        word = await self._store.read(lambda uow: _word_on(uow, chore))
        if word is _Word.WAIT:
            _log.info("What a host is owed waits for what becomes of the server.", **told)
            return
        if word is _Word.DROP:
            _log.warning("What a host was owed is not wanted any more, since its server moved on; what is left there is left.", **told)
        else:
            await self._give(chore, told)
        await self._store.run(_done(chore.id))

    async def _give(self, chore: records.Chore, told: dict[str, str]) -> None:
        try:
            await self._agents.call(addresses.agent(chore.host), envelope.read(_COMMANDS[chore.command], chore.body))
        except errors.StaleEpoch:
            _log.info("A host had been given its cleaning before.", **told)
        else:
            _log.info("A host was given its cleaning.", **told)


async def _word_on(uow: uows.UnitOfWork, chore: records.Chore) -> _Word:
    """Give what the record says now. The journal of the host would refuse most of what is late, but not what it never heard of."""
    if chore.command in _NOTE:
        return _Word.PAY
    uuid = str(chore.body["instance_uuid"])
    found = (await uow.servers.find([uuid])).get(uuid)
    holder = await uow.operations.open_of_instance(uuid)
    has_server = found is not None and found.reason != server.DELETED_ON_REQUEST and found.host == chore.host
    if chore.command in _TAKE_UP:
        if has_server and not await _has_left_since(uow, uuid, chore.operation_id):
            # A host that says to have it may well be right: it would run twice.
            return _Word.WAIT if await uow.disputes.are_about(uuid) else _Word.PAY
    elif not has_server and (holder is None or chore.operation_id in (holder.id, holder.migration_uuid)):
        return _Word.PAY
    return _Word.DROP if holder is None else _Word.WAIT


async def _has_left_since(uow: uows.UnitOfWork, instance_uuid: str, migration_id: str) -> bool:
    """Whether a later migration of the server began to move it."""
    newest_first = await uow.migrations.list(migration_records.MigrationQuery(instance_uuid=instance_uuid))
    return any(one.started_at is not None for one in itertools.takewhile(lambda one: one.uuid != migration_id, newest_first))


def _done(chore_id: int) -> stores.Unit[None]:
    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.chores.remove(chore_id)

    return unit
