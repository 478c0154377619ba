# SPDX-License-Identifier: Apache-2.0
"""Signs of life, stored many at once: a fleet sends more of them than a disk takes commits.

Each is answered after its commit. Judges nobody dead.
"""

from __future__ import annotations

import asyncio

from wherry import clock as clocks
from wherry import errors
from wherry.db import store as stores

#: Host and incarnation.
_Beat = tuple[str, str]


class Heartbeats:
    """Gathers for a moment what agents say, then writes it in one transaction."""

    def __init__(self, *, store: stores.Store, clock: clocks.Clock, interval_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._waiting: dict[_Beat, asyncio.Future[bool]] = {}
        self._writing: asyncio.Task[None] | None = None

    async def note(self, name: str, incarnation: str) -> bool:
        """Store that an agent lives. False: it is not the current one, and should register or end."""
        beat = (name, incarnation)
        if beat not in self._waiting:
            self._waiting[beat] = asyncio.get_running_loop().create_future()
        noted = self._waiting[beat]
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="heartbeats")
        return await asyncio.shield(noted)

    async def stop(self) -> None:
        """Write no more; who still waits gets no answer, and asks another conductor."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        for noted in self._waiting.values():
            noted.cancel()

    async def _write(self) -> None:
        while self._waiting:
            await self._clock.sleep(self._interval_seconds)
            batch, self._waiting = self._waiting, {}
            await self._store_all(batch)

    async def _store_all(self, batch: dict[_Beat, asyncio.Future[bool]]) -> None:
        try:
            current = await self._store.run(lambda uow: uow.hosts.heartbeats(tuple(batch)))
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, errors.DatabaseUnavailable):
                # Something is wrong with one of them, which must not make the others look dead.
                for beat, noted in batch.items():
                    await self._store_all({beat: noted})
                return
            # Whatever it is, it is each sender's answer.
            for noted in batch.values():
                noted.set_exception(error)
            return
        for beat, noted in batch.items():
            noted.set_result(beat in current)
