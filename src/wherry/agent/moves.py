# SPDX-License-Identifier: Apache-2.0
"""What the two hosts of a cold migration or resize do, stage by stage. Each may be run twice, and is let in by the fence.

Starts a guest only where its conductor says so, which has seen to it that the other host does not run it.
"""

from __future__ import annotations

import asyncio

from wherry import errors
from wherry.agent import checking, stage_notes
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.model import guest, instance_actions, migration, progress
from wherry.rpc import instance_events, messages


class _Sending:
    """The move of one guest's disks, as long as it is under way in this process."""

    def __init__(self) -> None:
        self.task: asyncio.Task[messages.Done]
        self.counters: progress.Progress | None = None

    def note(self, counters: progress.Progress) -> None:
        self.counters = counters


class Moves:
    """One host in both roles."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self.events = stage_notes.StageNotes(parts)
        self._sending: dict[str, _Sending] = {}

    # ---------------------------------------------------------------- the checks

    @instance_events.wrap_instance_event("compute")
    async def prep_resize(self, command: messages.PrepResize) -> messages.DestinationChecked:
        """Check whether the guest could come here. What only a running guest needs of a host is not asked for."""
        if command.plan.is_same_host:
            facts = migration.DestinationFacts(host=self._parts.host.name, capabilities=self._parts.capabilities)
            return messages.DestinationChecked(facts=facts)
        task = self._parts.task_of(self._parts.journal.get(command.operation_id), is_check=True)
        check = self._parts.driver.check_destination(
            task, _guest_of(command), migration.LiveMigrationRequest(host=self._parts.host.name), command.source
        )
        facts = await checking.run_check(self._parts.host.name, self._parts.config.default.long_rpc_timeout, check)
        return messages.DestinationChecked(facts=facts, outcome=checking.passed(facts.warnings))

    async def check_departure(self, command: messages.CheckDeparture) -> messages.DepartureChecked:
        """Check whether the guest can leave, or become another size here."""
        task = self._parts.task_of(self._parts.journal.get(command.operation_id))
        check = self._parts.driver.check_departure(task, command.plan)
        found = await checking.run_check(self._parts.host.name, self._parts.config.default.long_rpc_timeout, check)
        return messages.DepartureChecked(
            storage=found.storage, has_autostart=found.has_autostart, outcome=checking.passed(found.storage.warnings)
        )

    async def check_return(self, command: messages.CheckReturn) -> messages.FinishedAtDestination:
        """Check whether the guest could be taken up here again.

        :raises GuestActive: when it runs here.
        :raises GuestNotFound: when its definition is gone.
        """
        kept = await self._described(command.instance_uuid)
        if command.plan.is_same_host:
            return messages.FinishedAtDestination(guest=kept)
        if kept.state is not guest.GuestState.SHUT_OFF:
            raise errors.GuestActive(host=self._parts.host.name, uuid=command.instance_uuid, state=kept.state.value)
        return messages.FinishedAtDestination(guest=kept)

    # ----------------------------------------------------------------- the move

    async def prepare_arrival(self, command: messages.PrepareArrival) -> messages.StageDone:
        """Make the files into which disks will be sent."""
        entry = await self._noted(command)
        await self._parts.remove_probes(entry)
        await self._parts.journal.save(entry)
        await self._parts.driver.prepare_arrival(self._parts.task_of(entry), command.plan)
        return messages.StageDone()

    async def move_guest(self, command: messages.MoveGuest) -> messages.Moving:
        """Begin the move or join it; answer when it is done, or after the time that the command gives."""
        entry = self._parts.journal.get(command.operation_id)
        note = entry.move
        if note is not None and note.is_sent:
            return messages.Moving(is_done=True, definition=note.definition, outcome=_outcome_of(note))
        sending = self._sending.get(entry.operation_id)
        if sending is None:
            sending = self._sending[entry.operation_id] = _Sending()
            sending.task = self._parts.background.spawn(self.resize_instance(command), f"move {entry.operation_id}", is_awaited=True)
        await asyncio.wait({sending.task}, timeout=command.wait_seconds)
        if not sending.task.done():
            return messages.Moving(is_done=False, progress=sending.counters)
        self._sending.pop(entry.operation_id, None)
        # Its error, if it has one, is the answer; asked again, it is tried again.
        await sending.task
        done = entry.move or wherry_journal.MoveNote()
        return messages.Moving(is_done=True, progress=sending.counters, definition=done.definition, outcome=_outcome_of(done))

    @instance_events.wrap_instance_event("compute")
    async def resize_instance(self, command: messages.MoveGuest) -> messages.Done:
        """Take the guest's power, then send its disks."""
        entry = self._parts.journal.get(command.operation_id)
        await self._send(entry, command, self._sending[entry.operation_id])
        return messages.Done()

    async def _send(self, entry: wherry_journal.Entry, command: messages.MoveGuest, sending: _Sending) -> None:
        note = entry.move = entry.move or wherry_journal.MoveNote()
        note.was_powered_off = note.was_powered_off or await self._is_on(command.instance_uuid)
        # On disk before the guest loses its power: whoever looks into it later must find whose doing it was.
        await self._parts.journal.save(entry, is_synced=True)
        off = await self._parts.driver.retire_guest(self._parts.task_of(entry), command.plan)
        note.definition = off.definition
        await self._parts.journal.save(entry)
        await self._parts.driver.send_disks(self._parts.task_of(entry), command.plan, sending.note)
        note.is_sent = True
        await self._parts.journal.save(entry, is_synced=True)

    async def _stop_sending(self, operation_id: str) -> None:
        sending = self._sending.pop(operation_id, None)
        if sending is not None:
            sending.task.cancel()
            await asyncio.wait({sending.task})

    @instance_events.wrap_instance_event("compute")
    async def finish_resize(self, command: messages.FinishResize) -> messages.FinishedAtDestination:
        """Take the guest in and start it if it ran before; a second command finds it here, whatever became of it since."""
        entry = await self._noted(command)
        note = entry.move = entry.move or wherry_journal.MoveNote()
        if note.is_taken_in:
            return messages.FinishedAtDestination(guest=await self._described(command.instance_uuid))
        await self._parts.driver.receive_guest(self._parts.task_of(entry), command.plan)
        arrived = await self._started(command)
        # A check that was doubled, and came late, has made them again.
        await self._parts.remove_probes(entry)
        note.is_taken_in = True
        await self._parts.journal.save(entry, is_synced=True)
        return messages.FinishedAtDestination(guest=arrived)

    # ------------------------------------------------------------- undo, revert

    async def discard_arrival(self, command: messages.DiscardArrival) -> messages.StageDone:
        """Remove what came here, or was to come; the source has it all.

        :raises StaleEpoch: on the guest's own host.
        """
        entry = await self._noted(command)
        if command.plan.is_same_host or self._parts.host.name == command.plan.source:
            # Only a mix-up of hosts could send this to the source; undoing there would touch the guest itself.
            problem = "this host is its source"
            raise errors.StaleEpoch(operation_id=command.operation_id, epoch=command.epoch, problem=problem)
        await self._parts.driver.discard_guest(self._parts.task_of(entry), command.plan)
        return messages.StageDone()

    async def restore_source(self, command: messages.RestoreSource) -> messages.FinishedAtDestination:
        """Stop the move, and have the guest here as it was."""
        await self._stop_sending(command.operation_id)
        return await self._restored(command)

    @instance_events.wrap_instance_event("compute")
    async def revert_resize(self, command: messages.RevertResize) -> messages.StageDone:
        """Take the guest's power; what there is of it here stays until its source has taken it up."""
        await self._noted(command)
        if not await self._is_on(command.instance_uuid):
            return messages.StageDone()
        await self._parts.driver.power_off_guest(command.instance_uuid)
        return messages.StageDone(outcome=_overdue())

    @instance_events.wrap_instance_event("compute")
    async def finish_revert_resize(self, command: messages.FinishRevertResize) -> messages.FinishedAtDestination:
        """Take the guest up at its source again."""
        return await self._restored(command)

    async def start_again(self, command: messages.StartAgain) -> messages.FinishedAtDestination:
        """Start the guest here again."""
        await self._noted(command)
        return messages.FinishedAtDestination(guest=await self._started(command))

    # ---------------------------------------------------------------- confirmed

    @instance_events.wrap_instance_event("compute")
    async def confirm_resize(self, command: messages.ConfirmSource) -> messages.StageDone:
        """Give up what was kept here: the definition, and the disks that we made on this host ourselves."""
        entry = await self._noted(command)
        if command.is_deletion and await self._is_on(command.instance_uuid):
            await self._parts.driver.power_off_guest(command.instance_uuid)
        owned = self._parts.journal.owned(command.instance_uuid)
        kept = await self._parts.driver.release_guest(self._parts.task_of(entry), command.plan, owned)
        await self._parts.journal.disown(command.instance_uuid)
        if not kept:
            return messages.StageDone()
        details = f"Kept on {self._parts.host.name}, since Wherry did not make them: {', '.join(kept)}."
        return messages.StageDone(outcome=instance_actions.EventOutcome(result=instance_actions.Result.SUCCESS, details=details))

    async def confirm_destination(self, command: messages.ConfirmDestination) -> messages.StageDone:
        """Let the files that were made for the guest be the guest's; what a late check left goes."""
        await self._parts.remove_probes(self._parts.journal.get(command.operation_id))
        return messages.StageDone()

    # ------------------------------------------------------------------- pieces

    async def _noted(self, command: messages.MoveCommand) -> wherry_journal.Entry:
        """Give the entry, on disk before anything is done: after a power failure too it must be known whose doing it was."""
        entry = self._parts.journal.get(command.operation_id)
        await self._parts.journal.save(entry, is_synced=True)
        return entry

    async def _is_on(self, instance_uuid: str) -> bool:
        """Whether the guest has its power here.

        :raises JobActive: while it is being migrated, by whomever.
        """
        seen = await self._parts.driver.observe_guest(instance_uuid)
        if seen.has_job:
            raise errors.JobActive(job="migration", host=self._parts.host.name)
        return seen.state not in (guest.GuestState.SHUT_OFF, guest.GuestState.ABSENT)

    async def _restored(self, command: messages.MoveCommand) -> messages.FinishedAtDestination:
        entry = await self._noted(command)
        await self._parts.driver.restore_guest(self._parts.task_of(entry), command.plan)
        return messages.FinishedAtDestination(guest=await self._started(command))

    async def _started(self, command: messages.MoveCommand) -> guest.Guest:
        if command.plan.was_running:
            await self._parts.driver.start_guest(command.instance_uuid)
        return await self._described(command.instance_uuid)

    async def _described(self, instance_uuid: str) -> guest.Guest:
        found = await self._parts.driver.describe_guests([instance_uuid])
        if not found:
            raise errors.GuestNotFound(host=self._parts.host.name, uuid=instance_uuid)
        return found[0]


def _guest_of(command: messages.MoveCommand) -> guest.Guest:
    if command.plan.guest is None:
        raise errors.PlanIncomplete(operation_id=command.operation_id, what="guest")
    return command.plan.guest


def _overdue() -> instance_actions.EventOutcome:
    details = "The guest was on still and was powered off."
    return instance_actions.EventOutcome(result=instance_actions.Result.SUCCESS, details=details)


def _outcome_of(note: wherry_journal.MoveNote) -> instance_actions.EventOutcome:
    return _overdue() if note.was_powered_off else instance_actions.SUCCEEDED
