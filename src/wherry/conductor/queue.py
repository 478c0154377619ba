# SPDX-License-Identifier: Apache-2.0
"""Who waits for slots here, and when they try again: one look at the queue for all of them, not one attempt by each.

Grants nothing: a migration that is woken takes its slots itself, under lock, and may find that another conductor's was faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from wherry import background, errors
from wherry import clock as clocks
from wherry import config as configs
from wherry.conductor import drive
from wherry.db import store as stores
from wherry.db.repositories import admission
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Of those whose destination is full, how many look for another one after each poll: each of them asks for all hosts.
_LOOKING_ELSEWHERE = 10

#: Operations that wait for slots: how they stand, and what wakes them.
Waiters = Mapping[str, tuple[drive.Drive, asyncio.Event]]


class Queue:
    """The queue as one conductor sees it.

    :param others: the way to the other conductors.
    :param waiters: gives those that wait here now.
    """

    def __init__(
        self,
        *,
        store: stores.Store,
        others: clients.Client,
        conductor_id: str,
        clock: clocks.Clock,
        config: configs.Config,
        waiters: Callable[[], Waiters],
    ) -> None:
        self.config = config
        self._others = others
        self._conductor_id = conductor_id
        self._store = store
        self._clock = clock
        self._waiters = waiters
        self._is_free = asyncio.Event()

    def look(self) -> None:
        """A slot may be free."""
        self._is_free.set()

    async def freed(self) -> None:
        """A migration has given its slots back; those who wait for them may wait with another conductor."""
        self.look()
        try:
            await self._others.cast(addresses.conductors(), messages.SlotsFreed(conductor_id=self._conductor_id))
        except errors.Error as error:
            _log.debug("The other conductors find by themselves that slots are free.", slug=error.slug)

    async def keep(self) -> None:
        """Look when a slot may be free, and every `queue_poll_interval_seconds`, for as long as this runs."""
        next_poll = self._clock.monotonic()
        while True:
            interval = self.config.conductor.queue_poll_interval_seconds
            was_woken = await background.wait_for_wake(self._is_free, next_poll - self._clock.monotonic())
            if not was_woken:
                next_poll = self._clock.monotonic() + interval
            await background.attempt(self._wake if was_woken else self._poll, "Looking who may leave the queue")

    async def _poll(self) -> None:
        for alarm in self._looking_elsewhere(await self._look(), self._waiters()):
            alarm.set()

    async def _wake(self) -> None:
        await self._look()

    async def _look(self) -> list[admission.Waiting]:
        """Wake those for whom there are slots; gives the whole queue."""
        waiters = self._waiters()
        if not waiters:
            return []
        options = self.config.default
        limits = admission.SlotLimits(
            outgoing=options.max_concurrent_live_migrations,
            incoming=options.max_concurrent_incoming_live_migrations,
            cluster=options.max_concurrent_live_migrations_cluster,
        )
        queue = await self._store.read(lambda uow: uow.slots.queue(limits))
        for one in queue:
            if not one.waits_for and one.operation_id in waiters:
                waiters[one.operation_id][1].set()
        return queue

    def _looking_elsewhere(self, queue: list[admission.Waiting], waiters: Waiters) -> Iterator[asyncio.Event]:
        """Give those for whom only the destination is full, and whose checks are so old that they may choose another."""
        left = _LOOKING_ELSEWHERE
        for one in queue:
            if left == 0 or one.operation_id not in waiters:
                continue
            on, alarm = waiters[one.operation_id]
            is_only_full = one.waits_for == (f"incoming:{one.destination}",)
            is_named = getattr(on.operation.request, "host", None) is not None
            if is_only_full and not is_named and on.checks_age_seconds > self.config.conductor.check_ttl_seconds:
                left -= 1
                yield alarm
