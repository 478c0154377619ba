# SPDX-License-Identifier: Apache-2.0
"""The disk of an agent's machine: what was synced survives everything, the rest only the death of a process."""

from __future__ import annotations

import random

from wherry import errors
from wherry.agent import storage
from wherry.testing.simulation import perils, process


class Disk:
    """The journal's directory of one host, which outlives its agents."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        #: As it would be after a power failure now.
        self.durable: dict[str, bytes] = {}
        self.holder: process.Process | None = None
        #: Who had the place, the last of them last.
        self.holders: list[str] = []

    def lose_power(self, chance: random.Random) -> int:
        """Lose some of what was not synced: each note as it happens; give how many were lost."""
        lost = 0
        for name in sorted({*self.notes, *self.durable}):
            if self.notes.get(name) == self.durable.get(name):
                continue
            if chance.random() < 0.5 and name in self.durable:
                self.notes[name] = self.durable[name]
                lost += 1
            elif name in self.notes and name not in self.durable and chance.random() < 0.5:
                del self.notes[name]
                lost += 1
        self.durable = dict(self.notes)
        return lost


class SimulatedStorage:
    """One agent's hold of it; dead with the agent."""

    def __init__(self, disk: Disk, of: process.Process, dangers: perils.Perils) -> None:
        self._disk = disk
        self._of = of
        self._perils = dangers

    async def lock(self, holder: str) -> tuple[str, ...]:
        """As in Storage."""
        if self._disk.holder is not None and self._disk.holder.is_alive:
            raise errors.JournalLocked(path="journal", holder=self._disk.holders[-1])
        earlier = tuple(self._disk.holders)
        self._disk.holders = [*earlier[-storage.MOST_HOLDERS :], holder]
        self._disk.holder = self._of
        return earlier

    async def unlock(self) -> None:
        """As in Storage."""
        if self._disk.holder is self._of:
            self._disk.holder = None

    async def read_all(self) -> dict[str, bytes]:
        """As in Storage."""
        return dict(sorted(self._disk.notes.items()))

    async def write(self, name: str, data: bytes, *, is_synced: bool) -> None:
        """As in Storage."""
        await self._perils.pass_by(self._of, "write")
        self._disk.notes[name] = data
        if is_synced:
            self._disk.durable[name] = data
        await self._perils.pass_by(self._of, "written")

    async def remove(self, name: str) -> None:
        """As in Storage."""
        await self._perils.pass_by(self._of, "remove")
        self._disk.notes.pop(name, None)

    async def set_aside(self, name: str) -> None:
        """As in Storage."""
        self._disk.notes.pop(name, None)
