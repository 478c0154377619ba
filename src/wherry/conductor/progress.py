# SPDX-License-Identifier: Apache-2.0
"""Counters of running transfers: coalesced in memory, written in batches. Losing some loses nothing that matters."""

from __future__ import annotations

import asyncio
import functools

from wherry import background, errors
from wherry import clock as clocks
from wherry.db import store as stores
from wherry.db.repositories import migrations
from wherry.model import progress


class ProgressWriter:
    """Keeps the newest counters of each migration until the next flush."""

    def __init__(self, *, store: stores.Store, clock: clocks.Clock, interval_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._interval_seconds = interval_seconds
        #: By migration and by who counted: whether that is its source is known only when they are written.
        self._waiting: dict[tuple[str, str], progress.Progress] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to flush."""
        self._task = asyncio.create_task(
            background.repeat(self.flush, "Writing progress", every_seconds=self._interval_seconds, clock=self._clock), name="progress"
        )

    async def stop(self) -> None:
        """Stop; what was not flushed is not written: the outcome carries the last counters."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def note(self, migration_id: str, host: str, counters: progress.Progress) -> None:
        """Remember the newest counters that this host sent."""
        self._waiting[migration_id, host] = counters

    def drop(self, migration_id: str, host: str) -> None:
        """Forget what this host sent: it has sent its last counters another way."""
        self._waiting.pop((migration_id, host), None)

    async def flush(self) -> None:
        """Write what is waiting, all in one transaction."""
        waiting, self._waiting = self._waiting, {}
        batch = [migrations.Counted(uuid=uuid, host=host, counters=counters) for (uuid, host), counters in waiting.items()]
        if batch:
            await self._write(batch)

    async def _write(self, batch: list[migrations.Counted]) -> None:
        try:
            await self._store.run(lambda uow: uow.migrations.record_progress(batch))
        except Exception as error:
            if len(batch) == 1 or isinstance(error, errors.DatabaseUnavailable):
                raise
            # Something is wrong with one of them, which is no reason to lose the others.
            for one in batch:
                await background.attempt(functools.partial(self._write, [one]), "Writing the counters of one migration")
