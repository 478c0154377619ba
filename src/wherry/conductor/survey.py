# SPDX-License-Identifier: Apache-2.0
"""All hosts as they are now, read once for all who ask at the same time; and what was chosen here of late and is not among it.

Without the choices, all who look at the same moment would find the same host the best, and queue up before it. Decides by nothing: whether
a host has room is counted again, under its lock, by who stores the choice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence

from wherry import errors
from wherry.conductor import gatherer
from wherry.conductor.scheduler import ties
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import guest, host

#: Readings of the hosts after which a choice that was stored is among all that is read.
_READINGS = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one look has found."""

    hosts: dict[str, host.Host]
    #: Of the server that was asked for.
    tied: ties.Ties
    #: Its number.
    reading: int


@dataclasses.dataclass(kw_only=True, slots=True)
class _Choice:
    source: str
    destination: str
    memory_mib: int
    vcpus: int
    #: The reading that was begun last when the choice was stored; None before that.
    stored_at: int | None = None


class Survey:
    """What one conductor knows of all hosts."""

    def __init__(self, store: stores.Store) -> None:
        self._store = store
        self._askers = gatherer.Gatherer("survey", self._read)
        self._readings = 0
        #: By operation.
        self._choices: dict[str, _Choice] = {}

    async def look(self, instance_uuid: str) -> Seen:
        """Read all hosts, and what ties this server to some. No part of the answer is older than the question.

        :raises ServerNotFound: there is no such server.
        """
        return await self._askers.ask(instance_uuid)

    async def stop(self) -> None:
        """Read no more."""
        await self._askers.stop()

    def choose(self, operation_id: str, source: str, destination: str, moving: guest.Guest) -> None:
        """Note a choice that is about to be stored."""
        self._choices[operation_id] = _Choice(source=source, destination=destination, memory_mib=moving.memory_mib, vcpus=moving.vcpus)

    def settle(self, operation_id: str) -> None:
        """Note that the choice was stored, or came to nothing. Without one, nothing changes."""
        choice = self._choices.get(operation_id)
        if choice is not None and choice.stored_at is None:
            choice.stored_at = self._readings

    def with_choices(self, hosts: Iterable[host.Host], seen: Seen) -> list[host.Host]:
        """Give the hosts as they will be once the choices are stored that were not when these were read."""
        taken: dict[str, host.Usage] = {one.name: one.usage for one in hosts}
        for choice in self._choices.values():
            if choice.stored_at is not None and choice.stored_at < seen.reading:
                continue
            if (source := taken.get(choice.source)) is not None:
                taken[choice.source] = dataclasses.replace(source, outgoing_migrations=source.outgoing_migrations + 1)
            if (into := taken.get(choice.destination)) is not None:
                taken[choice.destination] = dataclasses.replace(
                    into,
                    incoming_migrations=into.incoming_migrations + 1,
                    memory_mib=into.memory_mib + choice.memory_mib,
                    vcpus=into.vcpus + choice.vcpus,
                )
        return [one if taken[one.name] is one.usage else dataclasses.replace(one, usage=taken[one.name]) for one in hosts]

    async def _read(self, instance_uuids: Sequence[str]) -> list[Seen | Exception]:
        self._readings += 1
        reading = self._readings
        settled = [name for name, one in self._choices.items() if one.stored_at is not None and one.stored_at + _READINGS < reading]
        for operation_id in settled:
            del self._choices[operation_id]
        hosts, tied = await self._store.read(functools.partial(_all_of, list(dict.fromkeys(instance_uuids))))
        return [
            Seen(hosts=hosts, tied=tied[uuid], reading=reading) if uuid in tied else errors.ServerNotFound(uuid=uuid)
            for uuid in instance_uuids
        ]


async def _all_of(asked: list[str], uow: uows.UnitOfWork) -> tuple[dict[str, host.Host], dict[str, ties.Ties]]:
    hosts = {record.name: record for record in await uow.hosts.list()}
    return hosts, await ties.of_all(uow, asked)
