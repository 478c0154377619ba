# SPDX-License-Identifier: Apache-2.0
"""Report the guests that the hypervisor has: all of them from time to time, each change soon after it happened.

Claims nothing about a guest that is only on its way in, and never that one is gone unless the hypervisor was asked for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator

import pydantic_core

from wherry import background, errors
from wherry.agent import backoff
from wherry.agent import parts as wherry_parts
from wherry.drivers import base
from wherry.model import guest
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Part of the largest message that a list of guests may fill; the rest is for what is around it.
_SHARE = 0.8


class Inventory:
    """One host's.

    :param on_unknown: called when the conductor does not know this incarnation of the agent.
    """

    def __init__(self, parts: wherry_parts.Parts, on_unknown: Callable[[], None]) -> None:
        self._parts = parts
        self._on_unknown = on_unknown
        self._sequence = 0
        self._changed: set[str] = set()
        self._is_all_wanted = False
        self._wake = asyncio.Event()
        #: Whether the hypervisor did not answer when it was last asked about everything.
        self.is_hypervisor_away = False

    def report_all(self) -> None:
        """Report everything, soon."""
        self._is_all_wanted = True
        self._wake.set()

    def report(self, instance_uuid: str) -> None:
        """Report this guest, soon."""
        self._changed.add(instance_uuid)
        self._wake.set()

    def on_signal(self, signal: base.Signal) -> None:
        """Report what the signal hints at."""
        if signal.kind is base.SignalKind.CONNECTION:
            # Signals may have been missed meanwhile.
            self.report_all()
        elif signal.kind is base.SignalKind.LIFECYCLE and signal.instance_uuid:
            self.report(signal.instance_uuid)

    async def run(self) -> None:
        """Report for as long as the agent lives; what cannot be reported now is reported later."""
        section = self._parts.config.agent
        pauses = backoff.Backoff(section.report_retry_interval_seconds, section.report_retry_max_seconds)
        while True:
            if not await background.wait_for_wake(self._wake, self._parts.config.agent.inventory_interval_seconds):
                self._is_all_wanted = True
            if not self._is_all_wanted:
                await self._parts.clock.sleep(self._parts.config.agent.inventory_debounce_seconds)
            try:
                await self._report_due()
            except Exception as error:
                # Whatever it is: a host that beats and never tells of its guests again would look well.
                if not pauses.has_failed:
                    _log.warning("An inventory is reported later", host=self._parts.host.name, **logs.told(error))
                await self._parts.clock.sleep(pauses.next_seconds())
                self._wake.set()
                continue
            pauses.reset()

    async def _report_due(self) -> None:
        is_all, changed = self._is_all_wanted, self._changed
        self._is_all_wanted, self._changed = False, set()
        try:
            if is_all:
                await self._report_everything()
            elif changed:
                await self._report_changed(changed)
        except Exception:
            self._is_all_wanted |= is_all
            self._changed |= changed
            raise

    async def _report_everything(self) -> None:
        guests = await self._describe()
        paused = {one.uuid for one in guests if one.state is guest.GuestState.PAUSED}
        await self._parts.journal.prune(self._parts.config.agent.journal_retention_days, paused)
        *earlier, last = self._chunks(guests)
        for chunk in earlier:
            await self._send(chunk, is_complete=False)
        described = tuple(one.uuid for chunk in earlier for one in chunk)
        await self._send(last, is_complete=True, described_before=described)

    async def _describe(self) -> list[guest.Guest]:
        try:
            await self._parts.describe()
            found = await self._parts.driver.describe_guests()
        except (errors.Unavailable, errors.Timeout):
            self.is_hypervisor_away = True
            raise
        self.is_hypervisor_away = False
        return [_shortened(one) for one in found if not one.is_incoming]

    async def _report_changed(self, changed: set[str]) -> None:
        found = await self._parts.driver.describe_guests(changed)
        absent = tuple(sorted(changed - {one.uuid for one in found}))
        *earlier, last = self._chunks([_shortened(one) for one in found if not one.is_incoming])
        for chunk in earlier:
            await self._send(chunk, is_complete=False)
        if last or absent:
            await self._send(last, is_complete=False, absent=absent)

    async def _send(
        self, guests: list[guest.Guest], *, is_complete: bool, described_before: tuple[str, ...] = (), absent: tuple[str, ...] = ()
    ) -> None:
        self._sequence += 1
        report = messages.ReportInventory(
            name=self._parts.host.name,
            incarnation=self._parts.incarnation,
            sequence=self._sequence,
            is_complete=is_complete,
            description=self._parts.description if is_complete else None,
            guests=tuple(guests),
            described_before=described_before,
            absent=absent,
        )
        try:
            await self._parts.client.call(addresses.conductor(), report, self._parts.config.agent.report_timeout_seconds)
        except (errors.NotFound, errors.HostRefused):
            self._on_unknown()
            raise

    def _chunks(self, guests: list[guest.Guest]) -> Iterator[list[guest.Guest]]:
        """Divide guests so that each part fits into a message; there is always a last part, if an empty one."""
        limit = self._parts.config.bus.max_message_bytes * _SHARE
        chunk: list[guest.Guest] = []
        size = 0
        for one in guests:
            length = len(pydantic_core.to_json(one))
            if chunk and size + length > limit:
                yield chunk
                chunk, size = [], 0
            chunk.append(one)
            size += length
        yield chunk


def _shortened(one: guest.Guest) -> guest.Guest:
    """Leave out what only a migration needs, which asks for it afresh."""
    return dataclasses.replace(one, definition="", cpu="")
