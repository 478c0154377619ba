# SPDX-License-Identifier: Apache-2.0
"""The conductor's lease: the right to command, renewed every second, gone by itself when it cannot be renewed.

One row a conductor, not one an operation: a thousand renewals a second would be a wall.
"""

from __future__ import annotations

import asyncio

from wherry import background, errors
from wherry import clock as clocks
from wherry import config as configs
from wherry.db import store as stores
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Lease:
    """Held while `require()` does not raise."""

    def __init__(
        self, *, conductor_id: str, host: str, store: stores.Store, clock: clocks.Clock, section: configs.ConductorSection
    ) -> None:
        self.conductor_id = conductor_id
        self._host = host
        self._store = store
        self._clock = clock
        self._section = section
        self._held_until = float("-inf")
        self._held_since = float("-inf")
        self._task: asyncio.Task[None] | None = None
        #: Number of the lease: one that ran out and was taken again is another, and what was driven under the first may have a new owner.
        self.term = 0

    @property
    def is_held(self) -> bool:
        """Whether this conductor may command, by its own monotonic clock: the database's answer may come too late."""
        return self._clock.monotonic() < self._held_until

    @property
    def undisturbed_seconds(self) -> float:
        """How long it has been held and every renewal has succeeded: since when the database can be relied on to know what was told."""
        return max(0.0, self._clock.monotonic() - self._held_since) if self.is_held else 0.0

    def require(self, term: int | None = None) -> None:
        """Make sure that this conductor may command.

        :param term: under which it took on what the command is about; None where that does not matter.
        :raises LeaseLost: when it may not; another may have taken its operations over.
        """
        if not self.is_held or term not in (None, self.term):
            raise errors.LeaseLost(conductor=self.conductor_id)

    async def acquire(self) -> None:
        """Take the lease and keep renewing it until `release`."""
        await self._renew()
        # Those that were killed could not take their rows along.
        await self._store.run(lambda uow: uow.conductors.remove_expired(self._section.lease_seconds))
        keep = background.repeat(
            self._renew, "Renewing the lease", every_seconds=self._section.lease_renew_interval_seconds, clock=self._clock
        )
        self._task = asyncio.create_task(keep, name=f"lease {self.conductor_id}")

    async def release(self) -> None:
        """Give the lease up, so that another conductor takes over at once; while the database is away it runs out by itself."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._held_until = float("-inf")
        try:
            await self._store.run(lambda uow: uow.conductors.remove(self.conductor_id))
        except errors.DatabaseUnavailable as error:
            _log.warning("The lease could not be given up, and runs out by itself.", conductor=self.conductor_id, **logs.told(error))

    async def _renew(self) -> None:
        # Counted from before the question: the database may have stamped it at any moment since.
        asked_at = self._clock.monotonic()
        try:
            # An answer after that would renew what is over; a database that has come back should not be asked any later for it.
            async with asyncio.timeout(self._section.lease_seconds):
                was_live = await self._store.run(
                    lambda uow: uow.conductors.renew(self.conductor_id, self._host, self._section.lease_seconds)
                )
        except TimeoutError:
            self._held_since = float("inf")
            raise errors.DatabaseUnavailable(detail=f"no answer within the lease of {self._section.lease_seconds:g} s") from None
        except errors.Error:
            self._held_since = float("inf")
            raise
        # By either clock: the answer to an earlier renewal, which would have said so, may have been lost.
        self.term += not (was_live and self.is_held)
        if not self.is_held or self._held_since == float("inf"):
            self._held_since = self._clock.monotonic()
        self._held_until = asked_at + self._section.lease_seconds
