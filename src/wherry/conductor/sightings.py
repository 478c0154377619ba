# SPDX-License-Identifier: Apache-2.0
"""Inventories that say nothing new, taken in many at once and without holding a host's lock while they are compared.

Of a guest that is being migrated its two hosts report every turn, and none of it changes the record: that is its migration's. Whatever
might change one is left to who applies inventories one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence

from wherry import clock as clocks
from wherry import errors
from wherry.conductor import gatherer
from wherry.db import store as stores
from wherry.db.repositories import inventories
from wherry.model import server
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Whether a report of this node, with what is recorded of the servers that it names, changes none of them.
_IsOldNews = Callable[[messages.ReportInventory, str, Mapping[str, server.Server]], bool]


class Sightings:
    """Gathers reports for a moment, and takes in those that change nothing; gives back the others.

    :param is_old_news: says so of a report, given its host's own name and the records of the servers that it names.
    """

    def __init__(self, *, store: stores.Store, clock: clocks.Clock, interval_seconds: float, is_old_news: _IsOldNews) -> None:
        self._store = store
        self._is_old_news = is_old_news
        self._reports = gatherer.Gatherer("sightings", self._take_in_batch, functools.partial(clock.sleep, interval_seconds))

    async def take_in(self, report: messages.ReportInventory) -> bool:
        """Take a report in if it changes nothing. False: it was left as it is."""
        if report.is_complete or report.description is not None:
            return False
        return await self._reports.ask(report)

    async def stop(self) -> None:
        """Take nothing in any more; who still waits gets no answer, and reports to another conductor."""
        await self._reports.stop()

    async def _take_in_batch(self, reports: Sequence[messages.ReportInventory]) -> list[bool]:
        """Say of each whether it was taken in."""
        try:
            accepted = await self._take_in_all(reports)
        except errors.DatabaseUnavailable:
            raise
        except Exception as error:
            # Something is wrong with one of them, which must not hold up the others.
            _log.warning("Reports are applied one by one, since one of them cannot be.", **logs.told(error))
            return [False] * len(reports)
        return [accepted.get(report.name) == report.sequence for report in reports]

    async def _take_in_all(self, reports: Sequence[messages.ReportInventory]) -> dict[str, int]:
        """Give the sequence that was taken in of each host; one whose reports say something new is left out."""
        # First this: an inventory that is taken in after it, and changes what is read next, makes the write below meet nothing.
        told = await self._store.look(lambda uow: uow.inventories.told([one.name for one in reports]))
        uuids = sorted({uuid for one in reports for uuid in (*one.absent, *(guest.uuid for guest in one.guests))})
        known = await self._store.look(lambda uow: uow.servers.find(uuids))
        following: dict[str, tuple[inventories.Told, int]] = {}
        for one in reports:
            before = told.get(one.name)
            if before is not None and one.name not in following and _is_next(one, before) and self._is_old_news(one, before.node, known):
                following[one.name] = (before, one.sequence)
        if not following:
            return {}
        pairs = list(following.values())
        write: Callable[[stores.Unit[set[str]]], Awaitable[set[str]]] = self._store.put if len(pairs) == 1 else self._store.run
        accepted = await write(lambda uow: uow.inventories.accept_next(pairs))
        return {name: sequence for name, (_, sequence) in following.items() if name in accepted}


def _is_next(report: messages.ReportInventory, told: inventories.Told) -> bool:
    return told.incarnation == report.incarnation and told.sequence < report.sequence and not told.has_disputes
