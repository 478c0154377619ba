# SPDX-License-Identifier: Apache-2.0
"""The stages that run where a guest leaves from, and the watches over its transfers.

Starts nothing twice, concludes no outcome, and resumes no guest that it did not stop.
"""

from __future__ import annotations

import asyncio

from wherry import errors
from wherry.agent import backoff, checking, hand_over, monitor, reporting, stage_notes, timing
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.drivers import base
from wherry.model import guest, truth
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Source:
    """One host in that role."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self.events = stage_notes.StageNotes(parts)
        self._reporter = reporting.Reporter(parts)
        self._monitors: dict[str, monitor.Monitor] = {}
        #: Resolved when a transfer is under way, or known not to be.
        self._beginnings: dict[str, asyncio.Future[None]] = {}

    @instance_events.wrap_instance_event("compute")
    async def check_can_live_migrate_source(self, command: messages.CheckSource) -> messages.SourceChecked:
        """Check whether the guest can leave."""
        task = self._parts.task_of(self._parts.journal.get(command.operation_id))
        check = self._parts.driver.check_source(task, command.guest, command.request, command.facts)
        storage = await checking.run_check(self._parts.host.name, self._parts.config.default.long_rpc_timeout, check)
        return messages.SourceChecked(storage=storage, outcome=checking.passed(storage.warnings))

    async def start_transfer(self, command: messages.StartTransfer) -> messages.Done:
        """Begin the transfer and its watch; answer as soon as it is under way, or known to have ended."""
        entry = self._parts.journal.get(command.operation_id)
        if entry.transfer is not None and entry.transfer.is_started:
            return messages.Done()
        beginning: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beginnings[entry.operation_id] = beginning
        task = self._parts.background.spawn(self.live_migration(command), f"transfer {entry.operation_id}", is_awaited=True)
        await asyncio.wait((task, beginning), return_when=asyncio.FIRST_COMPLETED)
        self._beginnings.pop(entry.operation_id, None)
        if not beginning.done():
            # It ended before it began: its error is the answer.
            beginning.cancel()
            await task
        else:
            beginning.result()
        return messages.Done()

    @instance_events.wrap_instance_event("compute")
    async def live_migration(self, command: messages.StartTransfer) -> messages.Done:
        """Send the guest, from the first byte to the end of the job, whichever process of ours began it."""
        entry = self._parts.journal.get(command.operation_id)
        # Made first, so that an abort that comes while the hypervisor is still being asked is taken up.
        watch = monitor.Monitor(self._parts, entry, self._reporter)
        self._monitors[entry.operation_id] = watch
        try:
            if entry.transfer is None or not entry.transfer.is_started:
                watch.downtime_ms = await self._begin(entry, command)
            else:
                await watch.reload()
            beginning = self._beginnings.get(entry.operation_id)
            if beginning is not None and not beginning.done():
                beginning.set_result(None)
            await watch.run()
        finally:
            self._monitors.pop(entry.operation_id, None)
        return messages.Done()

    async def adopt(self, entry: wherry_journal.Entry) -> None:
        """Take up a transfer that an agent before us was told to make."""
        note = entry.transfer
        if note is None:
            return
        self._reporter.resume(entry)
        if not note.is_started and not await self._has_begun(entry):
            # The conductor had no answer and tells us again, or reads both sides.
            _log.info("A transfer that was about to begin is left to its conductor", migration_id=entry.operation_id)
            return
        if entry.transfer is not note:
            # Told again while the hypervisor was asked: that command has begun it, or found it under way.
            return
        note.is_started = True
        if note.is_ended and not note.was_handed_over and not note.is_post_copy_broken:
            return
        _log.info("A transfer is watched again", migration_id=entry.operation_id, instance_uuid=entry.instance_uuid)
        self._parts.background.spawn(self.live_migration(note.command), f"transfer {entry.operation_id}")

    async def describe_guest(self, command: messages.DescribeGuest) -> messages.DescribedGuest:
        """Describe the guest as it is now."""
        found = await self._parts.driver.describe_guests([command.instance_uuid])
        if not found:
            raise errors.GuestNotFound(host=self._parts.host.name, uuid=command.instance_uuid)
        return messages.DescribedGuest(guest=found[0])

    async def measure_guest(self, command: messages.MeasureGuest) -> messages.GuestMeasured:
        """Give what the guest has used."""
        return messages.GuestMeasured(usage=await self._parts.driver.measure_guest(command.instance_uuid))

    async def observe_guest(self, command: messages.ObserveGuest) -> messages.Observed:
        """Give this host's side of the truth table."""
        seen = await self._parts.driver.observe_guest(command.instance_uuid)
        entry = self._parts.journal.find(command.operation_id)
        note = entry.transfer if entry is not None else None
        if note is None:
            return messages.Observed(observation=seen)
        if command.operation_id in self._beginnings:
            # The hypervisor was asked to start and has not answered: what it shows is not the end.
            seen = guest.Observation(state=seen.state, has_job=True, detail="the transfer is being started")
        return messages.Observed(observation=hand_over.shown(note, seen), intent=note.intent, intent_detail=note.intent_detail)

    async def deliver_intent(self, command: messages.DeliverIntent) -> messages.Done:
        """Leave word for the watch, which acts on it at once."""
        watch = self._monitors.get(command.operation_id)
        if watch is None:
            raise errors.NoActiveTransfer(uuid=command.instance_uuid, host=self._parts.host.name)
        await watch.request(command.kind, command.request_id)
        return messages.Done()

    async def finish_source(self, command: messages.FinishSource) -> messages.Done:
        """Remove the stale definition of a guest that was read as running elsewhere, and end the watch."""
        entry = self._parts.journal.get(command.operation_id)
        await self._parts.journal.save(entry, is_synced=True)
        watch = self._monitors.get(entry.operation_id)
        if watch is None:
            await self._parts.driver.clean_up_source(self._parts.task_of(entry), command.plan)
            return messages.Done()
        async with watch.held():
            await self._parts.driver.clean_up_source(self._parts.task_of(entry), command.plan)
            watch.stop()
        return messages.Done()

    async def roll_back_source(self, command: messages.RollBackSource) -> messages.Done:
        """Let the guest run on here if it was we who stopped it, and end the watch.

        :raises JobActive: when the hypervisor still has a job for it.
        """
        entry = self._parts.journal.get(command.operation_id)
        watch = self._monitors.get(entry.operation_id)
        if watch is None:
            await self._let_run_on(entry, command)
            return messages.Done()
        async with watch.held():
            await self._let_run_on(entry, command)
            watch.stop()
        return messages.Done()

    async def end_watch(self, entry: wherry_journal.Entry) -> None:
        """Stop watching a migration that is over."""
        watch = self._monitors.get(entry.operation_id)
        if watch is not None:
            async with watch.held():
                watch.stop()

    async def reload(self) -> None:
        """Apply a changed configuration to the transfers under way."""
        for watch in list(self._monitors.values()):
            await watch.reload()

    def on_signal(self, signal: base.Signal) -> None:
        """Wake the watches that it concerns."""
        for operation_id, watch in self._monitors.items():
            entry = self._parts.journal.find(operation_id)
            if entry is not None and signal.instance_uuid in ("", entry.instance_uuid):
                watch.on_signal(signal.kind)

    async def _begin(self, entry: wherry_journal.Entry, command: messages.StartTransfer) -> int:
        """Note the transfer, then start it; give the downtime that it was started with."""
        note = self._new_note(command)
        if entry.transfer is not None:
            # An agent before us was told to start, and to abort, and did neither.
            note.abort, note.force = entry.transfer.abort, entry.transfer.force
        entry.transfer = note
        if note.abort is not None:
            await self._abort_before_beginning(entry, note, note.abort)
            return 0
        # On disk before the hypervisor is asked: an agent that dies in between must find that something may run.
        await self._parts.journal.save(entry, is_synced=True)
        downtime_ms = timing.ramp_of(self._parts, command, note.budget)[0].downtime_ms
        options = base.TransferOptions(
            downtime_ms=downtime_ms,
            bandwidth_mib_per_s=self._parts.config.libvirt.live_migration_bandwidth,
            permit_post_copy=note.is_post_copy_permitted,
        )
        try:
            await self._parts.driver.start_transfer(self._parts.task_of(entry), command.plan, options)
        except errors.TransferRefused:
            entry.transfer = None
            await self._parts.journal.save(entry, is_synced=True)
            raise
        except Exception as error:
            # Whether anything was started is not known: the watch finds out, and the caller may ask again.
            note.call_error = str(error)
            beginning = self._beginnings.get(entry.operation_id)
            if beginning is not None and not beginning.done():
                beginning.set_exception(error)
        note.is_started = True
        # The answer to the command rests on it: whoever was told that it is under way does not tell us again.
        await self._parts.journal.save(entry, is_synced=True)
        return downtime_ms

    async def _abort_before_beginning(
        self, entry: wherry_journal.Entry, note: wherry_journal.TransferNote, cause: wherry_journal.Cause
    ) -> None:
        note.intent = truth.LastIntent.ABORT
        note.intent_detail = f"{cause.origin} {cause.request_id}".rstrip() + ": aborted before the transfer began"
        note.is_started = cause.is_applied = True
        await self._parts.journal.save(entry, is_synced=True)

    def _new_note(self, command: messages.StartTransfer) -> wherry_journal.TransferNote:
        facts, leaving = command.plan.facts, command.plan.guest
        can_both = (
            self._parts.capabilities.force_complete_by_post_copy and facts is not None and facts.capabilities.force_complete_by_post_copy
        )
        # A paused guest dirties nothing and has nothing to gain; Nova drops post-copy for it, too.
        is_paused = leaving is not None and leaving.state is guest.GuestState.PAUSED
        is_hindered = leaving is not None and bool(leaving.passthrough_devices or leaving.post_copy_obstacle)
        # A guest that runs at the destination would write to disks that the source still sends.
        is_copying = command.plan.storage is not None and command.plan.storage.is_block_migration
        return wherry_journal.TransferNote(
            command=command,
            budget=timing.budget_of(self._parts, command),
            is_post_copy_permitted=self._parts.config.libvirt.live_migration_permit_post_copy
            and can_both
            and not (is_paused or is_copying or is_hindered),
            boot_id=self._parts.boot_clock.boot_id(),
            began_boot_seconds=self._parts.boot_clock.seconds(),
            began_at=self._parts.clock.now(),
        )

    async def _has_begun(self, entry: wherry_journal.Entry) -> bool:
        """Whether the transfer is under way, or was: a guest that runs on here after it may run there, too."""
        section = self._parts.config.agent
        pauses = backoff.Backoff(section.reconnect_initial_seconds, section.reconnect_max_seconds)
        while True:
            try:
                is_active = (await self._parts.driver.read_transfer(entry.instance_uuid)).is_active
                return is_active or (await self._parts.driver.observe_guest(entry.instance_uuid)).was_resumed_by_job
            except errors.GuestNotFound:
                return False
            except errors.HypervisorUnavailable:
                await self._parts.clock.sleep(pauses.next_seconds())

    async def _let_run_on(self, entry: wherry_journal.Entry, command: messages.RollBackSource) -> None:
        seen = await self._parts.driver.observe_guest(entry.instance_uuid)
        if seen.has_job:
            raise errors.JobActive(job="migration", host=self._parts.host.name)
        if not self._must_resume(entry, command, seen):
            return
        if entry.transfer is not None:
            # The watch must not take what we do now for the hypervisor's doing.
            entry.transfer.was_handed_over = False
        await self._parts.journal.save(entry, is_synced=True)
        await self._parts.driver.resume_guest(entry.instance_uuid)

    def _must_resume(self, entry: wherry_journal.Entry, command: messages.RollBackSource, seen: guest.Observation) -> bool:
        leaving, note = command.plan.guest, entry.transfer
        if leaving is not None and leaving.state is guest.GuestState.PAUSED:
            return False
        if seen.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER:
            return True
        return seen.state is guest.GuestState.PAUSED and note is not None and note.was_paused_by_us
