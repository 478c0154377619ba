# SPDX-License-Identifier: Apache-2.0
"""Clients that wait for the checks (microversions below 2.34): each costs a coroutine, thousands of them one query an interval.

Drives nothing: it watches the record, which says what became of a migration whoever drives it, and may be woken early.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Iterator

from wherry import clock as wherry_clock
from wherry import errors
from wherry.db import store as wherry_store
from wherry.db import uow as wherry_uow
from wherry.model import migration, states
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


#: Ids in one query: PostgreSQL takes some thirty thousand.
_ASKED_AT_ONCE = 2000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What the record says once the checks are over."""

    status: states.Status
    reason: migration.Reason | None


class Stopping(Exception):
    """The process ends; the migration goes on."""


class Waiting:
    """Everybody in this process who waits for checks.

    :param interval_seconds: [api] blocking_poll_interval_seconds
    """

    def __init__(self, store: wherry_store.Store, clock: wherry_clock.Clock, interval_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._waiters: dict[str, list[asyncio.Future[Checked]]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False

    @contextlib.contextmanager
    def watching(self, operation_id: str) -> Iterator[asyncio.Future[Checked]]:
        """Give a future that ends when the record has left `accepted`; it raises Stopping when the process ends first."""
        future: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(operation_id, []).append(future)
        if self._is_closed:
            future.set_exception(Stopping())
        elif self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="api-waiting")
        try:
            yield future
        finally:
            if not future.cancel() and not future.cancelled():
                # Looked at, so that asyncio does not warn of an error that came too late to matter.
                future.exception()
            self._forget(operation_id, future)

    def count(self) -> int:
        """Give how many wait."""
        return sum(len(futures) for futures in self._waiters.values())

    async def close(self) -> None:
        """Send everybody home, and whoever still comes."""
        self._is_closed = True
        for futures in list(self._waiters.values()):
            for future in list(futures):
                if not future.done():
                    future.set_exception(Stopping())
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
            self._poller = None

    def _forget(self, operation_id: str, future: asyncio.Future[Checked]) -> None:
        futures = self._waiters[operation_id]
        futures.remove(future)
        if not futures:
            del self._waiters[operation_id]

    async def _poll(self) -> None:
        while self._waiters:
            await self._clock.sleep(self._interval_seconds)
            try:
                await self._look()
            except Exception as error:
                # Whatever it is, they wait on: each has a limit of its own, and nobody else would ask for them.
                level = logging.WARNING if isinstance(error, errors.Error) else logging.ERROR
                _log.log(level, "Cannot ask what clients wait for", action="api.waiting", **logs.told(error))

    async def _look(self) -> None:
        ids = list(self._waiters)
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            await self._look_at(ids[start : start + _ASKED_AT_ONCE])
            # A look at thousands takes milliseconds, and others want to be answered in between.
            await asyncio.sleep(0)

    async def _look_at(self, ids: list[str]) -> None:
        async def unit(uow: wherry_uow.UnitOfWork) -> dict[str, Checked]:
            found = await uow.operations.waiting_for(ids)
            return {
                operation_id: Checked(status=status, reason=reason)
                for operation_id, (status, reason) in found.items()
                if status not in states.UNCHECKED
            }

        for operation_id, checked in (await self._store.read(unit)).items():
            for future in list(self._waiters.get(operation_id, [])):
                if not future.done():
                    future.set_result(checked)
