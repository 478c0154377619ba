# SPDX-License-Identifier: Apache-2.0
"""Signs of life, stored many at once: a fleet sends more of them than a disk takes commits.

Each is answered after its commit. Judges nobody dead.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from wherry import clock as clocks
from wherry import errors
from wherry.conductor import gatherer
from wherry.db import store as stores

#: Host and incarnation.
_Beat = tuple[str, str]


class Heartbeats:
    """Gathers for a moment what agents say, then writes it in one transaction."""

    def __init__(self, *, store: stores.Store, clock: clocks.Clock, interval_seconds: float) -> None:
        self._store = store
        self._beats = gatherer.Gatherer("heartbeats", self._store_all, functools.partial(clock.sleep, interval_seconds))

    async def note(self, name: str, incarnation: str) -> bool:
        """Store that an agent lives. False: it is not the current one, and should register or end."""
        return await self._beats.ask((name, incarnation))

    async def stop(self) -> None:
        """Write no more; who still waits gets no answer, and asks another conductor."""
        await self._beats.stop()

    async def _store_all(self, beats: Sequence[_Beat]) -> list[bool | Exception]:
        try:
            current = await self._store.run(lambda uow: uow.hosts.heartbeats(tuple(dict.fromkeys(beats))))
        except Exception as error:
            if len(beats) == 1 or isinstance(error, errors.DatabaseUnavailable):
                # Whatever it is, it is each sender's answer.
                return [error] * len(beats)
            # Something is wrong with one of them, which must not make the others look dead.
            return [outcome for beat in beats for outcome in await self._store_all([beat])]
        return [beat in current for beat in beats]
