# SPDX-License-Identifier: Apache-2.0
"""The sweep: find operations that nobody drives, intents and reports that their driver was not told of, and cleaning that is still owed.

A lost message is found here; so is everything that a dead conductor left.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from wherry import background, errors
from wherry.conductor import confirming, endpoints, intents
from wherry.db import uow as uows
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Operations taken over in one sweep; the next one takes more.
_MOST = 200


class Recovery:
    """Sweeps every `sweep_interval_seconds`."""

    def __init__(self, surface: endpoints.Endpoints, conductor_id: str) -> None:
        self._surface = surface
        self._conductor_id = conductor_id
        #: How many reports there were of each operation at the last look.
        self._reported: dict[str, int] = {}

    def start(self) -> None:
        """Begin to sweep."""
        section, clock, spawn = self._surface.config.conductor, self._surface.clock, self._surface.background.spawn
        spawn(self.sweep(), "first sweep")
        spawn(background.repeat(self.sweep, "The sweep", every_seconds=section.sweep_interval_seconds, clock=clock), "sweep")
        confirm, every = functools.partial(confirming.confirm_due, self._surface), section.confirm_sweep_interval_seconds
        spawn(background.repeat(confirm, "Confirming resizes", every_seconds=every, clock=clock), "confirm resizes")
        pay, pause = self._surface.chores.pay, section.chore_retry_interval_seconds
        spawn(background.repeat(pay, "Paying what hosts are owed", every_seconds=pause, clock=clock), "chores")

    async def sweep(self) -> None:
        """Look once. Without the lease there is nothing that this conductor may do about what it would find."""
        if not self._surface.orchestrator.may_command:
            return
        left, asked, reported = await self._surface.store.read(self._look)
        self._surface.intake.resume()
        driven = self._surface.orchestrator.driven
        for operation_id in left:
            if operation_id not in driven and operation_id not in self._surface.intake:
                self._surface.background.spawn(self._surface.take_on(operation_id), f"take on {operation_id}")
        for operation_id in asked:
            if operation_id in driven:
                self._surface.orchestrator.nudge(operation_id, has_news=True)
        await self._answer_late([operation_id for operation_id in asked if operation_id not in driven])
        for operation_id, count in reported.items():
            # Stored by another conductor, whose word of it may be lost.
            if operation_id in driven and count != self._reported.get(operation_id, 0):
                self._surface.orchestrator.nudge(operation_id)
        self._reported = reported

    async def _answer_late(self, asked: Sequence[str]) -> None:
        """Answer what is still open of operations that have ended: a conductor of an earlier release ended them and did not know it."""
        if not asked:
            return
        for operation_id in await self._surface.store.look(lambda uow: uow.operations.ended_among(asked)):
            try:
                following = await self._surface.store.run(intents.late(operation_id))
            except errors.StaleWrite as error:
                # A deletion that waits for the server to be free again.
                _log.debug("What an earlier release left open is answered later.", migration_id=operation_id, error=error.message)
                continue
            _log.info("What an earlier release left open is answered.", migration_id=operation_id, deletion=following)
            if following is not None:
                self._surface.orchestrator.nudge(following)

    async def _look(self, uow: uows.UnitOfWork) -> tuple[list[str], list[str], dict[str, int]]:
        """Give operations that nobody drives, or that are ours and may have dropped out of our hands; those with open intents; ours with
        the number of their reports.
        """
        free = await uow.operations.claimable(_MOST)
        ours = await uow.operations.owned_by(self._conductor_id)
        asked = await uow.operations.operations_with_pending_intents()
        return [*free, *ours], asked, await uow.reports.counts_of(self._conductor_id)
