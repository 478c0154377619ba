# SPDX-License-Identifier: Apache-2.0
"""One process's access to the database, which takes time, gets in its own way, is away, and loses its answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from wherry import clock as clocks
from wherry import errors
from wherry.db import engine as engines
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.testing.simulation import perils, process
from wherry.testing.simulation import trace as traces

T = TypeVar("T")


class Trouble:
    """What the database does to those who use it."""

    def __init__(self, chance: random.Random, clock: clocks.Clock, trace: traces.Trace) -> None:
        self.chance = chance
        self.clock = clock
        self.trace = trace
        #: Shares of the units of work that meet another's, are refused, or whose commit is not answered.
        self.conflicts = 0.0
        self.refusals = 0.0
        self.lost_answers = 0.0
        #: Share of units that take up to `most_seconds`, before or after.
        self.slowness = 0.0
        self.most_seconds = 0.0
        #: On the loop's time: until when nothing is answered at all.
        self.away_until = 0.0
        self.units = 0

    def calm(self) -> None:
        """Be well."""
        self.conflicts = self.refusals = self.lost_answers = self.slowness = self.away_until = 0.0

    def refuses(self) -> bool:
        """Whether this unit is not even begun."""
        self.units += 1
        return self.clock.monotonic() < self.away_until or self.happens(self.refusals)

    def happens(self, share: float) -> bool:
        """Draw."""
        return share > 0 and self.chance.random() < share

    async def take_time(self) -> None:
        """Let others get between a unit of work and what follows it."""
        if self.happens(self.slowness):
            await self.clock.sleep(self.chance.random() ** 3 * self.most_seconds)


class SimulatedStore(stores.Store):
    """The store of one process; dead with it.

    :param on_commit: told what each unit that may write gave back, after its commit and before its process learns of it.
    """

    def __init__(
        self,
        shared: stores.Store,
        trouble: Trouble,
        of: process.Process,
        dangers: perils.Perils,
        on_commit: Callable[[process.Process, object], None],
    ) -> None:
        self._shared = shared
        self._trouble = trouble
        self._of = of
        self._perils = dangers
        self._on_commit = on_commit

    async def run(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        await self._enter()
        result = await self._shared.run(self._met(unit))
        self._on_commit(self._of, result)
        await self._perils.pass_by(self._of, "committed")
        await self._leave()
        if self._trouble.happens(self._trouble.lost_answers):
            self._trouble.trace.note(f"database: {self._of.name} does not hear that it was committed")
            raise errors.DatabaseUnavailable(detail="the answer to the commit was lost")
        return result

    async def put(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        return await self.run(unit)

    async def read(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        await self._enter()
        result = await self._shared.read(unit)
        await self._leave()
        return result

    async def look(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        await self._enter()
        result = await self._shared.look(unit)
        await self._leave()
        return result

    async def _enter(self) -> None:
        await self._perils.pass_by(self._of, "begin")
        await self._trouble.take_time()
        if not self._of.is_alive:
            await process.freeze()
        if self._trouble.refuses() or self._trouble.clock.monotonic() < self._of.no_database_until:
            raise errors.DatabaseUnavailable(detail="the database does not answer")

    async def _leave(self) -> None:
        await self._trouble.take_time()
        if not self._of.is_alive:
            await process.freeze()

    def _met(self, unit: stores.Unit[T]) -> stores.Unit[T]:
        """Let another transaction be in the way of the first try, all of whose work is undone."""
        if not self._trouble.happens(self._trouble.conflicts):
            return unit
        tries = 0

        async def twice(uow: uows.UnitOfWork) -> T:
            nonlocal tries
            tries += 1
            result = await unit(uow)
            if tries == 1:
                raise engines.Troubled(engines.Trouble.CONFLICT, RuntimeError("another transaction was first"))
            return result

        return twice
