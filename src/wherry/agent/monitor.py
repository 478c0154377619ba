# SPDX-License-Identifier: Apache-2.0
"""Watch one transfer from its start, or from wherever it is, to its end; and its source afterwards, until somebody settled it.

Acts through `interventions` and never concludes an outcome: it says what the hypervisor shows. A hypervisor that does not answer is no end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from wherry import errors
from wherry.agent import background, backoff, interventions, reporting, timing
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.drivers import base
from wherry.model import convergence, guest, operation, progress
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Looks at the transfer between two looks at the guest where no signal asks for one: signals may be lost.
_LOOKS_PER_OBSERVATION = 2
#: Pause for switch-over after which a guest counts as handed over, whatever the counters say.
_HAND_OVER_SECONDS = 2.0
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
        section = parts.config.agent
        self._pauses = backoff.Backoff(section.reconnect_initial_seconds, section.reconnect_max_seconds)
        self._wake = asyncio.Event()
        # Held while the monitor acts, and by whoever must not be acted against.
        self._acting = asyncio.Lock()
        self._is_stopped = False
        self._must_observe = True
        self._looks = 0
        self._paused_since: float | None = None
        self._sent_progress_at: float | None = None
        self._progress: progress.Progress | None = None

    def on_signal(self, kind: base.SignalKind) -> None:
        """Look at once."""
        if kind is not base.SignalKind.ITERATION:
            self._must_observe = True
        self._wake.set()

    async def request(self, kind: operation.IntentKind, request_id: str) -> None:
        """Take up an abort or a force-complete.

        :raises NoActiveTransfer: when the transfer has ended.
        """
        note = self._note
        if note is None or note.is_ended or self._is_stopped:
            raise errors.NoActiveTransfer(uuid=self._entry.instance_uuid, host=self._parts.host.name)
        await self._interventions.request(note, kind, request_id)
        self._wake.set()

    async def reload(self) -> None:
        """Resolve anew what comes from the configuration, and say so if it changed."""
        note = self._note
        if note is None or note.is_ended or self._is_stopped:
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
        if self._is_beginning_open(note) and timing.settle_beginning(self._parts, note, transfer.progress):
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

    def _is_beginning_open(self, note: wherry_journal.TransferNote) -> bool:
        return not note.is_start_reported or note.boot_id != self._parts.boot_clock.boot_id()

    async def _report_start(self, note: wherry_journal.TransferNote) -> None:
        if not note.is_start_reported:
            note.is_start_reported = True
            await self._reporter.add(self._entry, messages.TransferStarted, {"deadline": wherry_journal.plain(note.budget)})

    async def _conclude(self, note: wherry_journal.TransferNote, transfer: base.Transfer) -> bool:
        seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
        if seen.has_job:
            # The job is on its last steps: not the end yet.
            return False
        # Stopped here with its job gone: whatever the last counters said, it is on the other side that the answer lies.
        is_by_us = seen.state is guest.GuestState.PAUSED and note.was_paused_by_us
        note.was_handed_over |= is_by_us or seen.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER
        if await self._check_hand_over(note, seen):
            seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
        if not note.call_error:
            await self._report_start(note)
        await self._send_progress(is_last=True)
        note.is_ended = True
        body = {
            "observation": wherry_journal.plain(shown(note, seen)),
            "intent": note.intent.value,
            "intent_detail": note.intent_detail,
            "call_error": transfer.call_error or note.call_error,
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
            await self._check_hand_over(note, await self._parts.driver.observe_guest(self._entry.instance_uuid))

    async def _check_hand_over(self, note: wherry_journal.TransferNote, seen: guest.Observation) -> bool:
        """Suspend a guest that its hypervisor resumed after the hand-over; say whether that was done now."""
        if not note.was_handed_over and self._may_run_elsewhere(note, seen):
            note.was_handed_over = True
            await self._parts.journal.save(self._entry)
        if seen.state is not guest.GuestState.RUNNING or not note.was_handed_over or note.is_suspended:
            return False
        # Also after an abort: it may have come when the destination had the guest already. The roll-back resumes it.
        await self._interventions.suspend_after_hand_over(note)
        return True

    def _may_run_elsewhere(self, note: wherry_journal.TransferNote, seen: guest.Observation) -> bool:
        """Whether the guest is paused here and all of it has been sent, so that the destination may be running it."""
        is_for_switch_over = seen.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER
        # The hypervisor shows a guest that we have paused as just that, also when the copy has arrived.
        is_by_us = seen.state is guest.GuestState.PAUSED and note.paused_boot_seconds is not None
        if not is_for_switch_over:
            self._paused_since = None
            return is_by_us and _rest_bytes(self._progress) == 0
        now = self._parts.clock.monotonic()
        if self._paused_since is None:
            self._paused_since = now
        if _rest_bytes(self._progress) in (None, 0):
            return True
        # Counters may stand still in the last phase; no switch-over that goes well takes so long, unless our pause left it much to send.
        return note.paused_boot_seconds is None and now - self._paused_since >= _HAND_OVER_SECONDS

    async def _guard(self) -> None:
        """Watch a source that has handed its guest over: its hypervisor may resume it long after the job has ended."""
        while not self._is_stopped:
            note = self._note
            if note is None or not note.was_handed_over or note.is_suspended:
                return
            try:
                async with self._acting:
                    seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
                    if not self._is_stopped:
                        await self._check_hand_over(note, seen)
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
        note = self._note
        if note is None or not note.budget.is_set or note.is_deadline_spent or note.is_post_copy:
            return poll
        left = note.budget.timeout_seconds - timing.elapsed_seconds(self._parts, note)
        # A hair more than what is left, or rounding would wake it just before its time.
        return min(poll, max(0.0, left) + 0.001)

    async def _wait_after(self, error: Exception) -> None:
        """Wait before the next look after one that failed; the log says so once, not each time."""
        if not self._pauses.has_failed:
            is_expected = isinstance(error, errors.Error)
            _log.warning(
                "A transfer cannot be looked at and is watched further",
                migration_id=self._entry.operation_id,
                instance_uuid=self._entry.instance_uuid,
                slug=error.slug if isinstance(error, errors.Error) else None,
                error=str(error),
                exc_info=None if is_expected else error,
            )
        pause = self._pauses.next_seconds()
        if not isinstance(error, errors.HypervisorUnavailable):
            # It answers, only not as it should: its end is not to be missed for long.
            pause = min(pause, self._parts.config.libvirt.live_migration_poll_interval_seconds)
        await background.wait_for_wake(self._wake, pause)

    def _answered(self) -> None:
        if self._pauses.reset():
            _log.info("A transfer can be looked at again", migration_id=self._entry.operation_id)


def shown(note: wherry_journal.TransferNote | None, seen: guest.Observation) -> guest.Observation:
    """Give an observation as the truth table must read it.

    A guest that we paused, and that has been handed over, is one that was handed over, not one that somebody paused.
    """
    if note is not None and note.was_handed_over and note.was_paused_by_us and seen.state is guest.GuestState.PAUSED:
        detail = "paused by the agent, and handed over"
        return guest.Observation(state=guest.GuestState.PAUSED_FOR_SWITCH_OVER, has_job=seen.has_job, detail=detail)
    return seen


def _rest_bytes(counters: progress.Progress | None) -> int | None:
    """Give what is still to be sent; None where it is not known."""
    if counters is None or counters.memory_total_bytes == 0:
        return None
    return counters.memory_remaining_bytes + counters.disk_remaining_bytes
