# SPDX-License-Identifier: Apache-2.0
"""Know when a guest has been handed over, and see to it that it does not run on at the source as well.

A lost closing reply makes a hypervisor take a transfer for failed and resume its guest, while the destination runs it. Judges no outcome.
"""

from __future__ import annotations

from wherry.agent import interventions
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.model import guest, progress

#: Pause for switch-over after which a guest counts as handed over, whatever the counters say.
_HAND_OVER_SECONDS = 2.0
#: Looks in whose time an end was watched, and nothing of the hand-over can have been missed.
_LOOKS_NOT_MISSED = 2


class HandOver:
    """The hand-over of one transfer's guest."""

    def __init__(self, parts: wherry_parts.Parts, entry: wherry_journal.Entry, acting: interventions.Interventions) -> None:
        self._parts = parts
        self._entry = entry
        self._interventions = acting
        self._paused_since: float | None = None
        self._looked_at: float | None = None

    def note_look(self) -> None:
        """Note that the job was seen under way now."""
        self._looked_at = self._parts.clock.monotonic()

    async def check(self, note: wherry_journal.TransferNote, seen: guest.Observation, counters: progress.Progress | None) -> bool:
        """Suspend a guest that its hypervisor resumed after the hand-over; say whether that was done now."""
        if not note.was_handed_over and self._may_run_elsewhere(note, seen, counters):
            note.was_handed_over = True
            await self._parts.journal.save(self._entry)
        if seen.state is not guest.GuestState.RUNNING or not note.was_handed_over or note.is_suspension_done:
            return False
        # Also after an abort: it may have come when the destination had the guest already. The roll-back resumes it.
        await self._interventions.suspend_after_hand_over(note)
        return True

    def note_end(self, note: wherry_journal.TransferNote, seen: guest.Observation) -> None:
        """Note how the job's end left the guest; written with what is reported of it."""
        # Stopped here with its job gone: whatever the last counters said, it is on the other side that the answer lies.
        is_by_us = seen.state is guest.GuestState.PAUSED and note.was_paused_by_us
        note.was_handed_over |= is_by_us or seen.state is guest.GuestState.PAUSED_FOR_SWITCH_OVER
        # It stood still when its job ended, and runs again: what nobody watched may have been its hand-over.
        note.was_handed_over |= seen.was_resumed_by_job and not self._was_watched()

    def _was_watched(self) -> bool:
        """Whether the job was looked at up to its end: no agent was away, none stood still, and the hypervisor answered."""
        poll = self._parts.config.libvirt.live_migration_poll_interval_seconds
        return self._looked_at is not None and self._parts.clock.monotonic() - self._looked_at <= _LOOKS_NOT_MISSED * poll

    def _may_run_elsewhere(self, note: wherry_journal.TransferNote, seen: guest.Observation, counters: progress.Progress | None) -> bool:
        """Whether the guest is paused here and all of it has been sent, so that the destination may be running it."""
        if seen.state is not guest.GuestState.PAUSED_FOR_SWITCH_OVER:
            self._paused_since = None
            # The hypervisor shows a guest that we have paused as just that, also when the copy has arrived.
            is_by_us = seen.state is guest.GuestState.PAUSED and note.paused_boot_seconds is not None
            return is_by_us and _rest_bytes(counters) == 0
        now = self._parts.clock.monotonic()
        if self._paused_since is None:
            self._paused_since = now
        if _rest_bytes(counters) in (None, 0):
            return True
        # Counters may stand still in the last phase; no switch-over that goes well takes so long, unless our pause left it much to send.
        return note.paused_boot_seconds is None and now - self._paused_since >= _HAND_OVER_SECONDS


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
