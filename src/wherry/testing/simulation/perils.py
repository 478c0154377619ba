# SPDX-License-Identifier: Apache-2.0
"""Where a process may die: at each of its effects, before it and after it.

A process touches the world by its bus, its database, its hypervisor and its disk only. A death at any other await cannot be told from
one at the effect before it or after it, so these are all the places that there are. Knows no part and brings nobody back.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import random
from collections.abc import Callable

from wherry.testing.simulation import process
from wherry.testing.simulation import trace as traces


@dataclasses.dataclass(kw_only=True, slots=True)
class Strike:
    """One blow at one exact moment: the `number`th time that a process of this kind does this."""

    kind: str
    #: The effect, as `Perils.pass_by` is told: "committed", "send FinishSource", "done start_transfer"; may hold * and ?.
    what: str
    number: int
    #: What then happens: "kill", "stall", or the name of a disturbance.
    deed: str
    seen: int = 0


class Perils:
    """Watches every effect of every process, and strikes.

    :param kill: ends a process.
    :param stall: stops a process for a while.
    :param disturb: does another deed, given its name and the process.
    """

    def __init__(
        self,
        chance: random.Random,
        trace: traces.Trace,
        *,
        kill: Callable[[process.Process], None],
        stall: Callable[[process.Process], None],
        disturb: Callable[[str, process.Process], None],
    ) -> None:
        self._chance = chance
        self._trace = trace
        self._kill = kill
        self._stall = stall
        self._disturb = disturb
        #: By kind of process: how likely it dies at an effect.
        self.rates: dict[str, float] = {}
        self.strikes: list[Strike] = []
        #: Effects so far, for the statistics.
        self.effects = 0

    def meet(self, of: process.Process, what: str) -> None:
        """Let an effect be followed by whatever befalls the process there."""
        if not of.is_alive:
            return
        self.effects += 1
        for strike in tuple(self.strikes):
            if strike.kind == of.kind and fnmatch.fnmatchcase(what, strike.what):
                strike.seen += 1
                if strike.seen == strike.number:
                    self.strikes.remove(strike)
                    self._strike(of, what, strike.deed)
        rate = self.rates.get(of.kind, 0.0)
        if rate and self._chance.random() < rate:
            self._strike(of, what, "kill")

    async def pass_by(self, of: process.Process, what: str) -> None:
        """As `meet`; the dead do not come back from it."""
        self.meet(of, what)
        if of.stalled_until:
            await of.wake()
        if not of.is_alive:
            await process.freeze()

    def calm(self) -> None:
        """Let nothing befall anybody any more."""
        self.rates.clear()
        self.strikes.clear()

    def _strike(self, of: process.Process, what: str, deed: str) -> None:
        self._trace.note(f"!! {of.name}: {deed} at {what!r}")
        if deed == "kill":
            self._kill(of)
        elif deed == "stall":
            self._stall(of)
        else:
            self._disturb(deed, of)
