# SPDX-License-Identifier: Apache-2.0
"""Which commands are let in, and when: late ones are refused, doubled ones join, and those about one guest take turns.

Knows what no step does. Idempotence alone would not do: a delayed start after a roll-back is a valid start.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from wherry import errors
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

R = TypeVar("R", bound=messages.Message)
C = TypeVar("C", bound=messages.Command)


class _Running:
    """A step in progress, or waiting for its turn."""

    def __init__(self, epoch: int) -> None:
        #: The highest of those who wait for it.
        self.epoch = epoch
        self.task: asyncio.Task[messages.Message]


class Fence:
    """Lets commands in.

    :param end_watch: called for a migration whose place another one of the same guest takes.
    """

    def __init__(self, parts: wherry_parts.Parts, end_watch: Callable[[wherry_journal.Entry], Awaitable[None]]) -> None:
        self._parts = parts
        self._end_watch = end_watch
        self._running: dict[tuple[str, str, int], _Running] = {}
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def read(self, command: C, step: Callable[[C], Awaitable[R]]) -> R:
        """Run a step that changes nothing: beside the others, and also after the migration's end."""
        self._require_connected()
        # Without an operation it is only a question about a guest: there is nothing to fence.
        if command.operation_id:
            await self._raise_epoch(command)
        return await step(command)

    async def note(self, command: C, step: Callable[[C], Awaitable[R]]) -> R:
        """Run a step that only leaves word for a watch: it must not wait for a step in progress."""
        self._require_connected()
        self._refuse_ended(await self._raise_epoch(command), command)
        return await step(command)

    async def run(self, command: C, step: Callable[[C], Awaitable[R]], *, final_reply: type[R] | None = None) -> R:
        """Run a step in the guest's turn. `final_reply`: it ends the migration here; asked again, its answer is given again.

        The step goes on when the caller goes away, and a duplicate is given the outcome of the one in progress.
        :raises StaleEpoch: when a higher epoch is known, or the migration's end.
        """
        self._require_connected()
        entry = await self._raise_epoch(command)
        name = type(command).__name__
        if final_reply is not None and entry.end is not None and entry.end.command == name:
            return final_reply.model_validate(entry.end.reply)
        self._refuse_ended(entry, command)
        # A check that is asked for anew is no duplicate: what lies between the two lets go of what the first one makes.
        key = (command.operation_id, name, getattr(command, "generation", 0))
        running = self._running.get(key)
        if running is None:
            running = _Running(command.epoch)
            work = self._take_turn(entry, command, step, running, is_final=final_reply is not None)
            running.task = self._parts.background.spawn(work, f"{name} {command.operation_id}", is_awaited=True)
            self._running[key] = running
            running.task.add_done_callback(lambda _: self._running.pop(key, None))
        running.epoch = max(running.epoch, command.epoch)
        # The key holds the command's name, and with it the reply's type.
        return cast("R", await asyncio.shield(running.task))

    async def _take_turn(
        self, entry: wherry_journal.Entry, command: C, step: Callable[[C], Awaitable[R]], running: _Running, *, is_final: bool
    ) -> messages.Message:
        turn = self._turns.setdefault(command.instance_uuid, asyncio.Lock())
        async with turn:
            # Things may have happened while it waited for its turn; who joined it meanwhile may know a higher epoch than it did.
            self._refuse_lower(entry, command, running.epoch)
            self._refuse_ended(entry, command)
            reply = await step(command)
            if is_final:
                await self._parts.journal.finish(entry, type(command).__name__, reply)
            return reply

    async def when_free(self, instance_uuid: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something about a guest in its turn, or not at all while a step of it is in progress, which may take long."""
        turn = self._turns.setdefault(instance_uuid, asyncio.Lock())
        if not turn.locked():
            async with turn:
                await work()

    async def take_place(self, command: messages.Command) -> None:
        """Make this the guest's migration on this host. An earlier one is over for certain, since a server has one at a time.

        :raises StaleEpoch: when another transfer of the guest is under way here, so that it is this command that is late.
        """
        others = [
            entry
            for entry in self._parts.journal.unfinished()
            # A question is none, and what it left is still to be removed.
            if entry.instance_uuid == command.instance_uuid and entry.operation_id != command.operation_id and not entry.is_question
        ]
        for entry in others:
            if entry.transfer is not None and not entry.transfer.is_ended:
                problem = f"migration {entry.operation_id} of the same guest is under way here"
                raise errors.StaleEpoch(operation_id=command.operation_id, epoch=command.epoch, problem=problem)
        for entry in others:
            _log.info("A migration of the guest gives way to the next.", migration_id=entry.operation_id, instance_uuid=entry.instance_uuid)
            await self._end_watch(entry)
            # Its cleaning may be owed still, and is refused from here on. Of what is noted only probes are nobody's but its own.
            await self._parts.remove_probes(entry)
            await self._parts.journal.finish(entry, "", messages.Done())

    def _require_connected(self) -> None:
        if self._parts.description is None:
            raise errors.HypervisorUnavailable(host=self._parts.host.name, detail="the agent has just started and not reached it yet")

    async def _raise_epoch(self, command: messages.Command) -> wherry_journal.Entry:
        """Take note of the command's epoch, so that an earlier owner's commands are refused from now on."""
        entry = self._parts.journal.find(command.operation_id)
        if entry is None:
            entry = self._parts.journal.add(command)
        elif command.epoch == entry.epoch and self._parts.journal.is_saved(entry):
            return entry
        else:
            self._refuse_lower(entry, command, command.epoch)
            entry.epoch = command.epoch
        await self._parts.journal.save(entry)
        return entry

    def _refuse_lower(self, entry: wherry_journal.Entry, command: messages.Command, epoch: int) -> None:
        if epoch < entry.epoch:
            raise errors.StaleEpoch(operation_id=command.operation_id, epoch=epoch, problem=f"{entry.epoch} is known")

    def _refuse_ended(self, entry: wherry_journal.Entry, command: messages.Command) -> None:
        if entry.end is not None:
            by = entry.end.command or "another migration of the guest"
            raise errors.StaleEpoch(operation_id=command.operation_id, epoch=command.epoch, problem=f"the migration was ended here by {by}")
