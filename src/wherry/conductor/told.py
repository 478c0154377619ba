# SPDX-License-Identifier: Apache-2.0
"""What the source of a migration has reported, as its driver knows it: read once, then kept up by what this process itself has stored.

Holds nothing that is not stored, and nothing at all wherever another conductor may have stored more: then it is read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from wherry.db import store as stores
from wherry.model import operation

#: Number that an agent gives to its first report of a migration.
_FIRST = 1


class Told:
    """The reports of one operation, in the order of epoch and sequence."""

    def __init__(self, operation_id: str) -> None:
        self._operation_id = operation_id
        #: None: not known.
        self._known: tuple[operation.Report, ...] | None = None
        #: Changes of the above, so that a reading under way sees that it is not the newest.
        self._changes = 0

    def begin(self) -> None:
        """Note that there are none, since nobody has told the source to begin."""
        self._set(())

    def note(self, report: operation.Report | None) -> None:
        """Note that one was stored: which one, if it was this process that stored it.

        Where it is not the very next, the one before it went another way: all are read again.
        """
        if report is None or self._known is None or not _follows(self._known, report):
            self.forget()
        else:
            self._set((*self._known, report))

    def forget(self) -> None:
        """Note that there may be others than those that are known."""
        self._set(None)

    async def read(self, store: stores.Store) -> Sequence[operation.Report]:
        """Give all of them."""
        if self._known is not None:
            return self._known
        changes = self._changes
        found = tuple(await store.look(lambda uow: uow.reports.list(self._operation_id)))
        if changes == self._changes:
            self._known = found
        return found

    def _set(self, known: tuple[operation.Report, ...] | None) -> None:
        self._known = known
        self._changes += 1


def _follows(known: tuple[operation.Report, ...], report: operation.Report) -> bool:
    """Whether nothing is missing between them: an agent numbers what it reports of a migration, and sends one after the other."""
    if not known:
        return report.sequence == _FIRST
    return report.sequence == known[-1].sequence + 1 and report.epoch >= known[-1].epoch
