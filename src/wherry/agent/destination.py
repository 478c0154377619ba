# SPDX-License-Identifier: Apache-2.0
"""The stages that run where a guest is to arrive. Each may be run twice, and is let in by the fence.

Never touches a running guest to undo something, nor a file that this migration's journal does not name.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Awaitable, Callable

from wherry import errors
from wherry.agent import checking, journal, stage_notes
from wherry.agent import parts as wherry_parts
from wherry.model import guest
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Destination:
    """One host in that role."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self.events = stage_notes.StageNotes(parts)

    async def check(self, command: messages.CheckDestination) -> messages.DestinationChecked:
        """Check, unless this is a late copy of a check that was let go of: nobody would ever let go of what it makes.

        :raises StaleEpoch: it is.
        """
        known = self._parts.journal.get(command.operation_id).released_generation
        if 0 < command.generation <= known:
            problem = f"its check of generation {command.generation} was let go of here at generation {known}"
            raise errors.StaleEpoch(operation_id=command.operation_id, epoch=command.epoch, problem=problem)
        return await self.check_can_live_migrate_destination(command)

    @instance_events.wrap_instance_event("compute")
    async def check_can_live_migrate_destination(self, command: messages.CheckDestination) -> messages.DestinationChecked:
        """Check whether the guest could run here."""
        entry = self._parts.journal.get(command.operation_id)
        # Written with the first probe.
        entry.is_question = command.is_question
        entry.checked_generation = max(entry.checked_generation, command.generation)
        task = self._parts.task_of(entry, is_check=True)
        check = self._parts.driver.check_destination(task, command.guest, command.request, command.source)
        facts = await checking.run_check(self._parts.host.name, self._parts.config.default.long_rpc_timeout, check)
        return messages.DestinationChecked(facts=facts, outcome=checking.passed(facts.warnings))

    async def release_check(self, command: messages.ReleaseCheck) -> messages.Done:
        """Remove what the check left; not what a later check has made, which the source may be looking for just now."""
        entry = self._parts.journal.get(command.operation_id)
        if 0 < command.generation < entry.checked_generation:
            _log.info("A late release was dropped", migration_id=command.operation_id, host=self._parts.host.name)
            return messages.Done()
        await self._parts.driver.release_check(self._parts.task_of(entry), command.probes)
        gone = {f"{probe.directory}/{probe.name}" for probe in command.probes}
        entry.created = [name for name in entry.created if name not in gone]
        entry.probes = [name for name in entry.probes if name not in gone]
        entry.released_generation = max(entry.released_generation, command.generation)
        # Fsynced: it may be the last that this host hears of a migration that goes elsewhere.
        await self._parts.journal.save(entry, is_synced=True)
        return messages.Done()

    async def forget_questions(self, when_free: Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        """Remove the probes of questions that nobody can be asking any more: who asked, or the agent that was asked, may have died.

        :param when_free: does it in the guest's turn; one whose step is in progress waits for the next time.
        """
        # A question has two calls, one here and one at the source, each of which may take its whole time.
        limit = datetime.timedelta(seconds=2 * self._parts.config.bus.rpc_response_timeout_seconds)
        now = self._parts.clock.now()
        for entry in self._parts.journal.unfinished():
            if not entry.is_question or not entry.probes or entry.touched_at is None or now - entry.touched_at < limit:
                continue
            await when_free(entry.instance_uuid, functools.partial(self._forget, entry))

    async def _forget(self, entry: journal.Entry) -> None:
        if entry.end is not None:
            return
        await self._parts.remove_probes(entry)
        await self._parts.journal.finish(entry, "", messages.Done())
        _log.info("The probes of a question were removed", operation_id=entry.operation_id, host=self._parts.host.name)

    @instance_events.wrap_instance_event("compute")
    async def pre_live_migration(self, command: messages.PrepareDestination) -> messages.StageDone:
        """Make ready for the transfer."""
        entry = self._parts.journal.get(command.operation_id)
        # Fsynced before anything is made here: after a power failure too it must be known whose doing it was.
        await self._parts.journal.save(entry, is_synced=True)
        await self._parts.driver.prepare_destination(self._parts.task_of(entry), command.plan)
        return messages.StageDone()

    @instance_events.wrap_instance_event("compute")
    async def post_live_migration_at_destination(self, command: messages.FinishDestination) -> messages.FinishedAtDestination:
        """Make the arrived guest this host's own."""
        entry = self._parts.journal.get(command.operation_id)
        arrived = await self._parts.driver.finish_destination(self._parts.task_of(entry), command.plan)
        # A check that was doubled, and came late, has made them again.
        await self._parts.remove_probes(entry)
        # Saved with the migration's end, which this is.
        entry.has_arrived_paused = arrived.state is guest.GuestState.PAUSED
        return messages.FinishedAtDestination(guest=arrived)

    @instance_events.wrap_instance_event("compute")
    async def rollback_live_migration_at_destination(self, command: messages.RollBackDestination) -> messages.StageDone:
        """Undo what this migration made here."""
        entry = self._parts.journal.get(command.operation_id)
        if entry.transfer is not None:
            # Only a mix-up of hosts could send this to the source; undoing there would touch the guest itself.
            problem = "this host is its source"
            raise errors.StaleEpoch(operation_id=command.operation_id, epoch=command.epoch, problem=problem)
        if entry.is_question:
            # The guest may have come here by a migration since: nothing but the question's own is touched.
            await self._parts.remove_probes(entry)
            return messages.StageDone()
        await self._parts.journal.save(entry, is_synced=True)
        await self._parts.driver.roll_back_destination(self._parts.task_of(entry), command.plan)
        return messages.StageDone()
