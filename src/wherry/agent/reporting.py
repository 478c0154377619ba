# SPDX-License-Identifier: Apache-2.0
"""Tell a conductor what was seen, until it says that it has stored it; and counters, once, as hints.

Keeps each fact in the journal until then. Concludes nothing from a conductor's silence.
"""

from __future__ import annotations

from typing import Any

from wherry import errors
from wherry.agent import backoff, timing
from wherry.agent import journal as wherry_journal
from wherry.agent import parts as wherry_parts
from wherry.model import progress as model_progress
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

Reported = type[messages.TransferStarted] | type[messages.PostCopyStarted] | type[messages.ActionTaken] | type[messages.TransferEnded]

_KINDS: dict[str, Reported] = {
    kind.__name__: kind for kind in (messages.TransferStarted, messages.PostCopyStarted, messages.ActionTaken, messages.TransferEnded)
}
#: Those that tell how long the transfer has been going on.
_TIMED = frozenset({messages.TransferStarted.__name__, messages.ActionTaken.__name__})
#: Errors that sending again may cure. Any other is the conductor's word that it does not want the report.
_PASSING = (errors.Unavailable, errors.Timeout, errors.Internal)


class Reporter:
    """Sends the reports of one agent: those of one migration in order, those of several beside each other."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self._sending: set[str] = set()

    async def add(self, entry: wherry_journal.Entry, kind: Reported, body: dict[str, Any] | None = None) -> None:
        """Note a fact and begin to send it. What else was changed in the entry is written with it."""
        fact = wherry_journal.Fact(sequence=entry.next_sequence, epoch=entry.epoch, kind=kind.__name__, body=body or {})
        entry.next_sequence += 1
        entry.unacknowledged.append(fact)
        await self._parts.journal.save(entry)
        self.resume(entry)

    def resume(self, entry: wherry_journal.Entry) -> None:
        """Send what is not acknowledged, unless that is being done."""
        if entry.unacknowledged and entry.operation_id not in self._sending:
            self._sending.add(entry.operation_id)
            self._parts.background.spawn(self._send_all(entry), f"report {entry.operation_id}")

    async def progress(self, entry: wherry_journal.Entry, counters: model_progress.Progress) -> None:
        """Cast the counters; whether they arrive does not matter."""
        message = messages.TransferProgressed(
            operation_id=entry.operation_id, epoch=entry.epoch, host=self._parts.host.name, progress=counters
        )
        try:
            await self._parts.client.cast(addresses.conductor(), message)
        except errors.Error as error:
            _log.debug("Counters were not sent", migration_id=entry.operation_id, slug=error.slug)

    async def _send_all(self, entry: wherry_journal.Entry) -> None:
        section = self._parts.config.agent
        pauses = backoff.Backoff(section.report_retry_interval_seconds, section.report_retry_max_seconds)
        try:
            while entry.unacknowledged:
                if await self._send(entry, entry.unacknowledged[0], section.report_timeout_seconds):
                    pauses.reset()
                else:
                    await self._parts.clock.sleep(pauses.next_seconds())
            # A crash before this sends some again, which the conductor tells by their numbers.
            if entry.end is None:
                await self._parts.journal.save(entry)
        finally:
            self._sending.discard(entry.operation_id)

    async def _send(self, entry: wherry_journal.Entry, fact: wherry_journal.Fact, timeout_seconds: float) -> bool:
        fields = {"operation_id": entry.operation_id, "epoch": fact.epoch, "sequence": fact.sequence, "host": self._parts.host.name}
        message = _KINDS[fact.kind].model_validate(fields | fact.body | self._stamped(entry, fact))
        try:
            await self._parts.client.call(addresses.conductor(), message, timeout_seconds)
        except _PASSING as error:
            _log.debug("A report is sent again later", migration_id=entry.operation_id, report=fact.kind, slug=error.slug)
            return False
        except errors.Error as error:
            _log.warning("A report was refused", migration_id=entry.operation_id, report=fact.kind, slug=error.slug, error=error.message)
        # The end of the migration may have emptied the list meanwhile.
        if fact in entry.unacknowledged:
            entry.unacknowledged.remove(fact)
        return True

    def _stamped(self, entry: wherry_journal.Entry, fact: wherry_journal.Fact) -> dict[str, Any]:
        if fact.kind not in _TIMED or entry.transfer is None:
            return {}
        # The conductor counts from when it hears of it, so that durations travel and clocks need not agree.
        return {"elapsed_seconds": timing.elapsed_seconds(self._parts, entry.transfer)}
