# SPDX-License-Identifier: Apache-2.0
"""Lets an api be seen by `wherry status`. Nothing else depends on it: an api that cannot write it answers requests all the same."""

from __future__ import annotations

import asyncio
import uuid

from wherry import background, errors
from wherry import clock as clocks
from wherry import config as configs
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Presence:
    """One api's row, written anew at each interval in which agents report, too.

    :param address: where it listens.
    """

    def __init__(self, *, store: stores.Store, clock: clocks.Clock, section: configs.DefaultSection, address: str) -> None:
        self._store = store
        self._clock = clock
        self._section = section
        self._address = address
        self._id = str(uuid.uuid4())
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Be seen from now on."""
        await background.attempt(self._first, "Telling that this api runs")
        keep = background.repeat(
            self._tell, "Telling that this api runs", every_seconds=self._section.report_interval_seconds, clock=self._clock
        )
        self._task = asyncio.create_task(keep, name="presence of the api")

    async def end(self) -> None:
        """Be seen no more; while the database is away, the row stays and grows old."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._store.run(lambda uow: uow.apis.remove(self._id))
        except errors.DatabaseUnavailable as error:
            _log.warning("The api goes on being listed, as one that is not heard of.", **logs.told(error))

    async def _first(self) -> None:
        # One that was killed at this place could not take its row along.
        limit = self._section.service_down_time_seconds
        await self._store.run(lambda uow: uow.apis.remove_silent(self._section.host, self._address, limit))
        await self._tell()

    async def _tell(self) -> None:
        async def unit(uow: uows.UnitOfWork) -> None:
            await uow.apis.hear(self._id, self._section.host, self._address)
            await uow.apis.forget_silent(self._section.forget_silent_seconds)

        await self._store.run(unit)
