# SPDX-License-Identifier: Apache-2.0
"""Watch one transfer from its start, or from wherever it is, to its end; and its source afterwards, until somebody settled it.

Acts through `interventions` and never concludes an outcome: it says what the hypervisor shows. A hypervisor that does not answer is no end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from wherry import background, errors
from wherry.agent import backoff, hand_over, interventions, mending, reporting, timing
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.drivers import base
from wherry.model import convergence, guest, operation, progress
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Looks at the transfer between two looks at the guest where no signal asks for one: signals may be lost.
_LOOKS_PER_OBSERVATION = 2
#: Pause between two looks by which bytes are seen to move.
_SECONDS_TO_SEE_MOVEMENT = 0.1
_FOR_BROKEN = frozenset({operation.IntentKind.RESUME_POST_COPY, operation.IntentKind.GIVE_UP})
_GONE = frozenset({guest.GuestState.ABSENT, guest.GuestState.SHUT_OFF})


class Monitor:
    """The watch over one transfer."""

    def __init__(self, parts: wherry_parts.Parts, entry: wherry_journal.Entry, reporter: reporting.Reporter) -> None:
        self._parts = parts
        self._entry = entry
        self._reporter = reporter
        #: Downtime allowed now, in milliseconds; None when another process started the transfer.
        self.downtime_ms: int | None = None
        self._interventions = interventions.Interventions(parts, entry, reporter)
        self._hand_over = hand_over.HandOver(parts, entry, self._interventions)
        section = parts.config.agent
        self._pauses = backoff.Backoff(section.reconnect_initial_seconds, section.reconnect_max_seconds)
        self._wake = asyncio.Event()
        self._mending = mending.Mending(parts, entry, reporter, self._wake)
        # Held while the monitor acts, and by whoever must not be acted against.
        self._acting = asyncio.Lock()
        self._is_stopped = False
        self._must_observe = True
        #: Whether the hypervisor was lost since the job was last seen under way.
        self._was_hypervisor_lost = False
        self._looks = 0
        self._sent_progress_at: float | None = None
        self._progress: progress.Progress | None = None

    def on_signal(self, kind: base.SignalKind) -> None:
        """Look at once."""
        if kind is not base.SignalKind.ITERATION:
            self._must_observe = True
        if kind is base.SignalKind.CONNECTION:
            self._was_hypervisor_lost = True
        self._wake.set()

    async def request(self, kind: operation.IntentKind, request_id: str) -> None:
        """Take up what somebody wants of the transfer.

        :raises NoActiveTransfer: when the transfer has ended, or is not broken where it must be.
        """
        note = self._note
        taker = self._mending if kind in _FOR_BROKEN else self._interventions
        if note is None or self._is_stopped or (note.is_ended and taker is self._interventions):
            raise errors.NoActiveTransfer(uuid=self._entry.instance_uuid, host=self._parts.host.name)
        await taker.request(note, kind, request_id)
        self._wake.set()

    async def reload(self) -> None:
        """Resolve anew what comes from the configuration, and say so if it changed."""
        note = self._note
        # What the deadline has done stays done: a change would be told, and never come true.
        if note is None or note.is_ended or note.is_post_copy or note.has_deadline_acted or self._is_stopped:
            return
        budget = timing.budget_of(self._parts, note.command)
        if budget == note.budget:
            return
        detail = f"deadline changed: {budget.timeout_seconds} s, {budget.on_timeout.value} (it was {note.budget.timeout_seconds} s)"
        note.budget = budget
        body = {"intent": note.intent.value, "detail": detail, "deadline": wherry_journal.plain(budget)}
        await self._reporter.add(self._entry, messages.ActionTaken, body)
        self._wake.set()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the monitor from acting, for who settles the transfer. Waits for an action under way."""
        async with self._acting:
            yield

    def stop(self) -> None:
        """End the watch: nothing is done any more."""
        self._is_stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Watch until the end was seen and noted, and as long as the guest may wake up at the source after its hand-over."""
        note = self._note
        if note is not None and not note.is_ended:
            await self._watch()
        await self._mending.run(self._acting, lambda: self._is_stopped)
        await self._guard()

    @property
    def _note(self) -> wherry_journal.TransferNote | None:
        # Read each time: the end of the migration removes it.
        return self._entry.transfer

    async def _watch(self) -> None:
        while not self._is_stopped:
            try:
                transfer = await self._read()
                async with self._acting:
                    has_ended = await self._look(transfer)
            except Exception as error:
                # Whatever it is, the transfer goes on, and its deadline must be kept.
                await self._wait_after(error)
                continue
            self._answered()
            if has_ended:
                return
            await background.wait_for_wake(self._wake, self._until_next_look())

    async def _read(self) -> base.Transfer:
        try:
            return await self._parts.driver.read_transfer(self._entry.instance_uuid)
        except errors.GuestNotFound:
            return base.Transfer(is_active=False)

    async def _look(self, transfer: base.Transfer) -> bool:
        """Do what one look calls for; say whether the transfer has ended."""
        note = self._note
        if self._is_stopped or note is None:
            return True
        self._progress = transfer.progress or self._progress
        if not transfer.is_active:
            return await self._conclude(note, transfer)
        self._was_hypervisor_lost = False
        self._hand_over.note_look()
        is_beginning_open = not note.is_start_reported or note.boot_id != self._parts.boot_clock.boot_id()
        if is_beginning_open and timing.settle_beginning(self._parts, note, transfer.progress):
            _log.info("The transfer's beginning was taken from the hypervisor", migration_id=self._entry.operation_id)
        await self._report_start(note)
        if transfer.is_post_copy and not note.is_post_copy:
            note.is_post_copy = True
            await self._reporter.add(self._entry, messages.PostCopyStarted)
        await self._interventions.apply(note, transfer)
        await self._step_downtime(note, transfer)
        await self._observe_if_due(note)
        await self._send_progress()
        return False

    async def _report_start(self, note: wherry_journal.TransferNote) -> None:
        if not note.is_start_reported:
            note.is_start_reported = True
            await self._reporter.add(self._entry, messages.TransferStarted, {"deadline": wherry_journal.plain(note.budget)})

    async def _conclude(self, note: wherry_journal.TransferNote, transfer: base.Transfer) -> bool:
        seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
        is_broken = seen.state is guest.GuestState.POST_COPY_FAILED
        if seen.has_job and not is_broken:
            # The job is on its last steps: not the end yet.
            return False
        self._hand_over.note_end(note, seen)
        if await self._hand_over.check(note, seen, self._progress):
            seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
        if not note.call_error:
            await self._report_start(note)
        self._progress = timing.with_pause(self._parts, note, self._progress)
        await self._send_progress(is_last=True)
        if is_broken:
            if not note.is_post_copy:
                await self._reporter.add(self._entry, messages.PostCopyStarted)
            await self._mending.note_break(note, transfer.call_error)
        note.is_ended = True
        body = {
            "observation": wherry_journal.plain(hand_over.shown(note, seen)),
            "intent": note.intent.value,
            "intent_detail": note.intent_detail,
            "call_error": transfer.call_error or note.call_error,
            "was_hypervisor_lost": self._was_hypervisor_lost,
            "progress": wherry_journal.plain(self._progress) if self._progress is not None else None,
        }
        await self._reporter.add(self._entry, messages.TransferEnded, body)
        _log.info(
            "A transfer's job has ended",
            migration_id=self._entry.operation_id,
            instance_uuid=self._entry.instance_uuid,
            state=seen.state.value,
            error=transfer.call_error or note.call_error or None,
        )
        return True

    async def _step_downtime(self, note: wherry_journal.TransferNote, transfer: base.Transfer) -> None:
        if not self._parts.capabilities.downtime_change or transfer.is_post_copy or note.was_paused_by_us:
            return
        ramp = timing.ramp_of(self._parts, note.command, note.budget)
        allowed = convergence.downtime_at(ramp, timing.elapsed_seconds(self._parts, note))
        if allowed == self.downtime_ms:
            return
        self.downtime_ms = allowed
        try:
            await self._parts.driver.tune_transfer(self._entry.instance_uuid, downtime_ms=allowed)
        except errors.HypervisorUnavailable:
            self.downtime_ms = None
            raise
        except errors.Error as error:
            _log.debug("The allowed downtime was not changed", migration_id=self._entry.operation_id, slug=error.slug)

    async def _observe_if_due(self, note: wherry_journal.TransferNote) -> None:
        self._looks += 1
        if self._must_observe or note.was_handed_over or self._looks % _LOOKS_PER_OBSERVATION == 0:
            self._must_observe = False
            seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
            await self._hand_over.check(note, seen, self._progress)

    async def _guard(self) -> None:
        """Watch a source that has handed its guest over: its hypervisor may resume it long after the job has ended."""
        while not self._is_stopped:
            note = self._note
            if note is None or not note.was_handed_over or note.is_suspension_done:
                return
            try:
                async with self._acting:
                    seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
                    if not self._is_stopped:
                        await self._hand_over.check(note, seen, self._progress)
            except Exception as error:
                await self._wait_after(error)
                continue
            self._answered()
            if seen.state in _GONE:
                return
            await background.wait_for_wake(self._wake, self._parts.config.libvirt.live_migration_poll_interval_seconds)

    async def _send_progress(self, *, is_last: bool = False) -> None:
        if self._progress is None:
            return
        now = self._parts.clock.monotonic()
        interval = self._parts.config.libvirt.live_migration_monitor_interval
        if is_last or self._sent_progress_at is None or now - self._sent_progress_at >= interval:
            self._sent_progress_at = now
            await self._reporter.progress(self._entry, self._progress)

    def _until_next_look(self) -> float:
        poll = self._parts.config.libvirt.live_migration_poll_interval_seconds
        if self._interventions.is_waiting:
            return min(poll, _SECONDS_TO_SEE_MOVEMENT)
        note = self._note
        if note is None or not note.budget.is_set or note.is_deadline_spent or note.is_post_copy:
            return poll
        left = note.budget.timeout_seconds - timing.elapsed_seconds(self._parts, note)
        # A hair more than what is left, or rounding would wake it just before its time.
        return min(poll, max(0.0, left) + 0.001)

    async def _wait_after(self, error: Exception) -> None:
        """Wait before the next look after one that failed; the log says so once, not each time."""
        if not self._pauses.has_failed:
            _log.warning(
                "A transfer cannot be looked at and is watched further",
                migration_id=self._entry.operation_id,
                instance_uuid=self._entry.instance_uuid,
                **logs.told(error),
            )
        pause = self._pauses.next_seconds()
        if not isinstance(error, errors.HypervisorUnavailable):
            # It answers, only not as it should: its end is not to be missed for long.
            pause = min(pause, self._parts.config.libvirt.live_migration_poll_interval_seconds)
        await background.wait_for_wake(self._wake, pause)

    def _answered(self) -> None:
        if self._pauses.reset():
            _log.info("A transfer can be looked at again", migration_id=self._entry.operation_id)
