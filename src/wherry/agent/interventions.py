# SPDX-License-Identifier: Apache-2.0
"""What is done to a transfer under way: aborted, forced to complete, or its guest suspended after the hand-over.

Each is written down before it is done, since it cannot be taken back; and each is done once, whoever asks how often. Watches nothing.
"""

from __future__ import annotations

from wherry import errors
from wherry.agent import forecast, reporting, timing
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.drivers import base
from wherry.model import convergence, guest, operation, progress, truth
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: How long a guest that is to be paused, and stands still already, is left to a switch-over; two looks are farther apart.
_SWITCH_OVER_SECONDS = 0.4


class Interventions:
    """Acts on one transfer. Its caller makes sure that one thing happens at a time."""

    def __init__(self, parts: wherry_parts.Parts, entry: wherry_journal.Entry, reporter: reporting.Reporter) -> None:
        self._parts = parts
        self._entry = entry
        self._reporter = reporter
        self._forecast = forecast.Forecast(parts.clock)
        #: Whether a switch to post-copy waits for a link that sends.
        self.is_waiting = False
        #: Since when a guest that is to be paused is seen to stand still for its migration.
        self._still_since: float | None = None

    async def request(self, note: wherry_journal.TransferNote, kind: operation.IntentKind, request_id: str) -> None:
        """Take up what somebody wants; done by the next `apply`. Wanting it twice is wanting it once.

        :raises PostCopyUnderWay: an abort that comes after the switch.
        :raises Unsupported: the driver cannot do it.
        """
        wanted = wherry_journal.Cause(origin="requested", request_id=request_id)
        capabilities = self._parts.capabilities
        if kind is operation.IntentKind.ABORT:
            if note.is_post_copy:
                raise errors.PostCopyUnderWay(uuid=self._entry.instance_uuid)
            if not capabilities.abort:
                raise errors.Unsupported(what="Aborting a transfer", driver=self._driver_name())
            note.abort = note.abort or wanted
        else:
            if not (capabilities.force_complete_by_post_copy or capabilities.force_complete_by_pause):
                raise errors.Unsupported(what="Forcing a transfer to complete", driver=self._driver_name())
            note.force = note.force or wanted
        # Its request is acknowledged with this: it must not be lost afterwards.
        await self._parts.journal.save(self._entry, is_synced=True)

    async def apply(self, note: wherry_journal.TransferNote, transfer: base.Transfer) -> None:
        """Do what is due now, by the clock or by request. What the hypervisor did not take is tried again the next time."""
        if note.is_post_copy or transfer.is_post_copy:
            self.is_waiting = False
            return
        if transfer.progress is not None:
            self._forecast.note(transfer.progress)
        elapsed = timing.elapsed_seconds(self._parts, note)
        self._spend_deadline(note, elapsed)
        self._bound_pause(note)
        # An abort beats a force-complete until post-copy starts.
        if note.abort is not None:
            if not note.abort.is_applied:
                await self._abort(note, note.abort, transfer.progress)
        elif note.force is not None and not note.force.is_applied:
            await self._force_complete(note, note.force, transfer.progress)
        self.is_waiting = self.is_waiting and note.is_forcing

    async def suspend_after_hand_over(self, note: wherry_journal.TransferNote) -> None:
        """Stop a guest that its hypervisor resumed although the destination may be running it (the closing reply was lost)."""
        note.is_suspended = True
        await self._parts.journal.save(self._entry, is_synced=True)
        await self._parts.driver.pause_guest(self._entry.instance_uuid)
        note.is_suspension_done = True
        detail = "the source resumed the guest after it had been handed over; suspended until the destination is known not to run it"
        _log.warning("A guest was suspended", migration_id=self._entry.operation_id, instance_uuid=self._entry.instance_uuid, why=detail)
        await self._report(note.intent, detail)

    def _spend_deadline(self, note: wherry_journal.TransferNote, elapsed: float) -> None:
        if note.has_deadline_acted:
            return
        was_spent = note.is_deadline_spent
        # Due and not done yet: the configuration may want something else by now.
        note.abort, note.force = _not_by_deadline(note.abort), _not_by_deadline(note.force)
        action = convergence.on_deadline(note.budget, elapsed_seconds=elapsed, is_post_copy=note.is_post_copy)
        note.is_deadline_spent = action is not convergence.Action.WAIT
        cause = wherry_journal.Cause(origin="deadline")
        if action is convergence.Action.ABORT:
            note.abort = note.abort or cause
        elif action is convergence.Action.FORCE_COMPLETE:
            note.force = note.force or cause
        if note.is_deadline_spent and not was_spent and self._parts.metrics is not None:
            self._parts.metrics.deadlines_fired.labels(action=action.value).inc()

    def _bound_pause(self, note: wherry_journal.TransferNote) -> None:
        limit = self._parts.config.libvirt.live_migration_max_pause_seconds
        if limit > 0 and note.paused_boot_seconds is not None and note.abort is None and self._parts.capabilities.abort:
            paused = self._parts.boot_clock.seconds() - note.paused_boot_seconds
            if paused > limit:
                note.abort = wherry_journal.Cause(origin="max_pause")

    async def _abort(self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, counters: progress.Progress | None) -> None:
        detail = self._numbers(note, cause, counters, "abort")
        if not self._parts.capabilities.abort:
            await self._cannot(note, cause, f"{detail}; the driver cannot abort, the transfer goes on")
            return
        await self._write_intent(note, truth.LastIntent.ABORT, detail)
        try:
            await self._parts.driver.abort_transfer(self._entry.instance_uuid)
        except errors.NoActiveTransfer:
            # The copy ended first: both sides' hypervisors tell what became of it.
            cause.is_applied = True
            return
        except errors.Unsupported:
            await self._cannot(note, cause, f"{detail}; the hypervisor cannot abort it, the transfer goes on")
            return
        await self._applied(cause, truth.LastIntent.ABORT, detail)

    async def _force_complete(
        self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, counters: progress.Progress | None
    ) -> None:
        if note.is_post_copy_permitted and self._parts.capabilities.force_complete_by_post_copy:
            if not await self._may_switch(note, cause, counters):
                return
            detail = self._numbers(note, cause, counters, "switch to post-copy")
            await self._write_intent(note, truth.LastIntent.POST_COPY, detail)
            try:
                await self._parts.driver.start_post_copy(self._entry.instance_uuid)
            except errors.NoActiveTransfer:
                cause.is_applied = True
                return
            except errors.Unsupported as error:
                _log.info("Post-copy is not possible here; the guest is paused", migration_id=self._entry.operation_id, error=error.message)
            else:
                await self._applied(cause, truth.LastIntent.POST_COPY, detail)
                return
        await self._pause(note, cause, counters)

    async def _may_switch(self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, counters: progress.Progress | None) -> bool:
        """Whether the switch, which cannot be taken back, can succeed: the link sends, and the rest fits into what it may take."""
        if counters is None:
            return True
        section, moved_at = self._parts.config.libvirt, self._forecast.moved_at
        if moved_at is None or self._parts.clock.monotonic() - moved_at > section.live_migration_post_copy_idle_seconds:
            if not self.is_waiting and moved_at is not None:
                numbers = self._numbers(note, cause, counters, "no switch to post-copy")
                await self._report(note.intent, f"{numbers}; it waits, since nothing is being sent", is_done=False)
            self.is_waiting = True
            return False
        self.is_waiting = False
        needed, limit = self._forecast.post_copy_seconds(counters), section.live_migration_max_post_copy_seconds
        if limit > 0 and self._parts.capabilities.abort and (needed is None or needed > limit):
            await self._abort_instead(note, cause, counters, "max_post_copy")
            return False
        return True

    async def _abort_instead(
        self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, counters: progress.Progress | None, origin: str
    ) -> None:
        """Abort what was to be forced, since what that takes does not fit into its bound."""
        cause.is_applied = True
        note.abort = wherry_journal.Cause(origin=origin)
        await self._abort(note, note.abort, counters)

    async def _pause(self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, counters: progress.Progress | None) -> None:
        detail = self._numbers(note, cause, counters, "pause the guest")
        if not self._parts.capabilities.force_complete_by_pause:
            await self._cannot(note, cause, f"{detail}; the driver cannot force it to complete, the transfer goes on")
            return
        needed, limit = self._forecast.pause_seconds(counters), self._parts.config.libvirt.live_migration_max_pause_seconds
        if limit > 0 and needed is not None and needed[1] > limit and self._parts.capabilities.abort:
            await self._abort_instead(note, cause, counters, "max_pause")
            return
        seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
        if seen.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER and not self._stands_still_for_long():
            # It is ending on its own. Should it not, the next look tries again.
            return
        if seen.state is guest.GuestState.RUNNING:
            # A guest that somebody else had paused stays paused afterwards, too.
            note.paused_boot_seconds = self._parts.boot_clock.seconds()
        await self._write_intent(note, truth.LastIntent.PAUSE, detail)
        await self._parts.driver.pause_guest(self._entry.instance_uuid)
        await self._applied(cause, truth.LastIntent.PAUSE, detail)

    def _stands_still_for_long(self) -> bool:
        """Whether it is no common switch-over: hypervisors show a guest that somebody paused during its migration just so."""
        now = self._parts.clock.monotonic()
        self._still_since = now if self._still_since is None else self._still_since
        return now - self._still_since >= _SWITCH_OVER_SECONDS

    async def _write_intent(self, note: wherry_journal.TransferNote, intent: truth.LastIntent, detail: str) -> None:
        note.intent, note.intent_detail = intent, detail
        await self._parts.journal.save(self._entry, is_synced=True)

    async def _applied(self, cause: wherry_journal.Cause, intent: truth.LastIntent, detail: str) -> None:
        cause.is_applied = True
        _log.info("A transfer was acted on", migration_id=self._entry.operation_id, intent=intent.value, detail=detail)
        await self._report(intent, detail, request_id=cause.request_id)

    async def _cannot(self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, detail: str) -> None:
        cause.is_applied = True
        note.intent, note.intent_detail = truth.LastIntent.NONE, ""
        _log.warning("A transfer could not be acted on", migration_id=self._entry.operation_id, detail=detail)
        await self._report(truth.LastIntent.NONE, detail, is_done=False)

    async def _report(self, intent: truth.LastIntent, detail: str, *, is_done: bool = True, request_id: str = "") -> None:
        body = {"intent": intent.value, "detail": detail, "is_done": is_done, "request_id": request_id}
        await self._reporter.add(self._entry, messages.ActionTaken, body)

    def _numbers(
        self, note: wherry_journal.TransferNote, cause: wherry_journal.Cause, counters: progress.Progress | None, what: str
    ) -> str:
        elapsed = timing.elapsed_seconds(self._parts, note)
        budget = f"{note.budget.timeout_seconds} s ({note.budget.timeout_origin.value})" if note.budget.is_set else "no limit"
        origin = f"{cause.origin} {cause.request_id}".rstrip()
        text = f"{origin}: {what} after {elapsed:.2f} s of {budget}"
        if counters is None:
            return text
        return f"{text}; {self._forecast.words(counters)}"

    def _driver_name(self) -> str:
        return self._parts.description.driver if self._parts.description is not None else ""


def _not_by_deadline(cause: wherry_journal.Cause | None) -> wherry_journal.Cause | None:
    return None if cause is not None and cause.origin == "deadline" else cause
