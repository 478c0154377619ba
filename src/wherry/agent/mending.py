# SPDX-License-Identifier: Apache-2.0
"""Connect a broken post-copy again, with growing pauses, until it flows to its end or somebody gives it up.

Each side holds a part of the guest: nothing here ends either, and nothing here judges an outcome.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from wherry import background, errors
from wherry.agent import backoff, reporting
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.drivers import base
from wherry.model import guest, operation
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_GONE = frozenset({guest.GuestState.ABSENT, guest.GuestState.SHUT_OFF})


class Mending:
    """The mending of one transfer's post-copy, which may break more than once."""

    def __init__(self, parts: wherry_parts.Parts, entry: wherry_journal.Entry, reporter: reporting.Reporter, wake: asyncio.Event) -> None:
        self._parts = parts
        self._entry = entry
        self._reporter = reporter
        self._wake = wake
        section = parts.config.agent
        self._pauses = backoff.Backoff(section.post_copy_resume_initial_seconds, section.post_copy_resume_max_seconds)
        self._next_try_at = 0.0
        self._broke_at: float | None = None
        self._has_flowed = False
        self._tries = 0
        self._problem = ""
        self._sent_progress_at = -math.inf
        self._is_unreadable = False

    async def note_break(self, note: wherry_journal.TransferNote, detail: str) -> None:
        """Note that the connection was lost; written with what is reported of it."""
        note.is_post_copy = note.is_post_copy_broken = True
        self._begin()
        _log.warning("A post-copy is broken", migration_id=self._entry.operation_id, instance_uuid=self._entry.instance_uuid, error=detail)
        await self._report(
            note, f"post-copy lost its connection ({detail or 'no reason was given'}); both sides are kept, it is resumed", is_done=False
        )

    async def request(self, note: wherry_journal.TransferNote, kind: operation.IntentKind, request_id: str) -> None:
        """Try again at once, or give up. Wanting it twice is wanting it once.

        :raises NoActiveTransfer: when no post-copy is broken here.
        """
        if not note.is_post_copy_broken:
            raise errors.NoActiveTransfer(uuid=self._entry.instance_uuid, host=self._parts.host.name)
        if kind is operation.IntentKind.GIVE_UP:
            if not note.is_given_up:
                note.is_given_up = True
                await self._report(note, f"requested {request_id}: post-copy is given up; both sides are kept as they are")
        else:
            self._pauses.reset()
            self._next_try_at = 0.0
        await self._parts.journal.save(self._entry, is_synced=True)
        self._wake.set()

    async def run(self, acting: asyncio.Lock, is_stopped: Callable[[], bool]) -> None:
        """Watch a broken post-copy, and mend it, until nothing of it is left here."""
        while not is_stopped():
            note = self._entry.transfer
            if note is None or not note.is_post_copy_broken or note.is_given_up:
                return
            try:
                async with acting:
                    pause = 0.0 if is_stopped() else await self._look(note)
                self._is_unreadable = False
            except Exception as error:
                # Whatever it is: nobody else would mend it.
                pause = self._poll_seconds
                if not self._is_unreadable:
                    _log.warning("A broken post-copy cannot be looked at", migration_id=self._entry.operation_id, **logs.told(error))
                self._is_unreadable = True
            await background.wait_for_wake(self._wake, pause)

    @property
    def _poll_seconds(self) -> float:
        return self._parts.config.libvirt.live_migration_poll_interval_seconds

    def _begin(self) -> None:
        now = self._parts.clock.monotonic()
        self._broke_at = now
        self._tries = 0
        # Not at once: what broke it is mostly not over yet, and both sides must have seen it.
        self._next_try_at = now + self._pauses.next_seconds()

    async def _look(self, note: wherry_journal.TransferNote) -> float:
        """Do what one look calls for; give the seconds until the next."""
        seen = await self._parts.driver.observe_guest(self._entry.instance_uuid)
        if seen.state in _GONE:
            note.is_post_copy_broken = False
            await self._tell_flow(note, "ended")
            return 0.0
        if seen.state is not guest.GuestState.POST_COPY_FAILED:
            await self._tell_flow(note, "flows again")
            await self._send_progress()
            return self._poll_seconds
        if self._broke_at is None:
            # Broken again, or taken up from an agent before us.
            if self._has_flowed:
                await self._report(note, "post-copy lost its connection again", is_done=False)
            self._begin()
        now = self._parts.clock.monotonic()
        if now >= self._next_try_at:
            await self._resume(note)
            now = self._parts.clock.monotonic()
        return min(self._poll_seconds, max(0.0, self._next_try_at - now))

    async def _resume(self, note: wherry_journal.TransferNote) -> None:
        self._tries += 1
        note.resume_tries += 1
        await self._parts.journal.save(self._entry, is_synced=True)
        section = self._parts.config.libvirt
        options = base.TransferOptions(
            downtime_ms=section.live_migration_downtime, bandwidth_mib_per_s=section.live_migration_bandwidth, permit_post_copy=True
        )
        task = self._parts.task_of(self._entry)
        try:
            # What hangs goes on, and the next try joins it.
            async with asyncio.timeout(section.call_timeout_seconds):
                await self._parts.driver.resume_post_copy(task, note.command.plan, options)
        except errors.NoActiveTransfer:
            # It flows, or is over: the next look tells.
            self._next_try_at = self._parts.clock.monotonic()
        except errors.Unsupported:
            self._next_try_at = math.inf
            await self._report(note, "the driver cannot resume a broken post-copy; both sides are kept", is_done=False)
        except (errors.Error, TimeoutError) as error:
            pause = self._pauses.next_seconds()
            self._next_try_at = self._parts.clock.monotonic() + pause
            problem = (error.fields.get("detail") or error.message) if isinstance(error, errors.Error) else "no answer"
            _log.info(
                "A post-copy could not be resumed yet",
                migration_id=self._entry.operation_id,
                number=self._tries,
                pause=pause,
                error=problem,
            )
            if problem != self._problem:
                self._problem = str(problem)
                await self._report(note, f"resuming post-copy failed ({problem}); tried again in {pause:g} s", is_done=False)

    async def _tell_flow(self, note: wherry_journal.TransferNote, what: str) -> None:
        if self._broke_at is None:
            return
        self._has_flowed = True
        seconds = self._parts.clock.monotonic() - self._broke_at
        self._broke_at = None
        self._problem = ""
        self._pauses.reset()
        detail = f"post-copy {what} {seconds:.1f} s after its connection was lost; tries: {self._tries}"
        _log.info(
            "A broken post-copy was mended", migration_id=self._entry.operation_id, instance_uuid=self._entry.instance_uuid, how=detail
        )
        await self._report(note, detail)

    async def _send_progress(self) -> None:
        now = self._parts.clock.monotonic()
        if now - self._sent_progress_at < self._parts.config.libvirt.live_migration_monitor_interval:
            return
        counters = (await self._parts.driver.read_transfer(self._entry.instance_uuid)).progress
        if counters is not None:
            self._sent_progress_at = now
            await self._reporter.progress(self._entry, counters)

    async def _report(self, note: wherry_journal.TransferNote, detail: str, *, is_done: bool = True) -> None:
        body = {"intent": note.intent.value, "detail": detail, "is_done": is_done}
        await self._reporter.add(self._entry, messages.ActionTaken, body)
