# SPDX-License-Identifier: Apache-2.0
"""Who waits for slots here, and when they try again: whoever gives slots back looks who is next for these, whichever conductor's.

A look at the whole queue finds what that has missed: a lost message, limits that were changed, slots of a conductor that died.

Grants nothing: a migration that is woken takes its slots itself, under lock, and may find that another conductor's was faster.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor import drive
from wherry.db import store as stores
from wherry.db.repositories import admission
from wherry.model import migration, operation, states
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Of those whose destination is full, how many look for another one after each poll: each of them asks for all hosts.
_LOOKING_ELSEWHERE = 10

#: Operations that wait for slots: how they stand, and what wakes them.
Waiter = tuple[drive.Drive, asyncio.Event]
#: Statuses of those that have slots, or are to be given some.
_IN_LINE = states.HOLDING_SLOTS | {states.Status.QUEUED}
#: Steps with which a migration begins to give its slots back, and how long it may take until it has.
_ENDING = frozenset({operation.StepName.SETTLE, operation.StepName.ROLL_BACK})
_ENDING_SECONDS = 0.5
#: Of the time that checks hold: how long a transfer that starts is taken to last.
_TRANSFER_SHARE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waiters:
    """Those that wait for slots here now."""

    everybody: Callable[[], Mapping[str, Waiter]]
    #: None: that one does not wait here.
    one: Callable[[str], Waiter | None]


class Queue:
    """The queue as one conductor sees it.

    :param others: the way to the other conductors.
    """

    def __init__(
        self,
        *,
        store: stores.Store,
        others: clients.Client,
        conductor_id: str,
        clock: clocks.Clock,
        config: configs.Config,
        waiters: Waiters,
    ) -> None:
        self.config = config
        self._others = others
        self._conductor_id = conductor_id
        self._store = store
        self._clock = clock
        self._waiters = waiters
        self._background = backgrounds.Background()
        self._is_free = asyncio.Event()
        #: Who was next for the slots of a migration as its transfer ended, by that migration.
        self._following: dict[str, Sequence[str]] = {}

    def look(self) -> None:
        """More slots may be free, and nobody knows which."""
        self._is_free.set()

    def follow(self, before: migration.Migration, now: migration.Migration, step: operation.StepName | None) -> None:
        """Hand over what a transition gives back, or prepare for what the step that follows it will.

        One that was to be given slots and takes them no longer gives them back, too.
        """
        if before.status not in _IN_LINE or before.dest_compute is None:
            return
        given = admission.Given(operation_id=now.uuid, source=before.source_compute, destination=before.dest_compute)
        holds, held = now.status in states.HOLDING_SLOTS, before.status in states.HOLDING_SLOTS
        if (held and not holds) or now.status in states.TERMINAL or now.dest_compute != before.dest_compute:
            self._freed(given)
        elif holds and step in _ENDING:
            self._following[given.operation_id] = ()
            self._hand_over(self._prepare(given), given)
        elif (before.status, now.status) == (states.Status.PREPARING, states.Status.RUNNING):
            self._hand_over(self._prepare_early(given), given)

    def forget(self, operation_id: str) -> None:
        """Give up what was begun for the slots of a migration that is not driven here any more."""
        self._following.pop(operation_id, None)

    def wake(self, operation_ids: Iterable[str], *, within_seconds: float = 0.0) -> None:
        """Wake those of them that wait here: their slots are free, or may be within this time."""
        for operation_id in operation_ids:
            self._wake_one(operation_id, within_seconds=within_seconds)

    async def stop(self) -> None:
        """Hand nothing over any more; the poll of another conductor finds what is free."""
        await self._background.stop()

    async def keep(self) -> None:
        """Look when a slot may be free, and every `queue_poll_interval_seconds`, for as long as this runs."""
        next_poll = self._clock.monotonic()
        while True:
            interval = self.config.conductor.queue_poll_interval_seconds
            was_woken = await backgrounds.wait_for_wake(self._is_free, next_poll - self._clock.monotonic())
            if not was_woken:
                next_poll = self._clock.monotonic() + interval
            await backgrounds.attempt(self._wake if was_woken else self._poll, "Looking who may leave the queue")

    async def _poll(self) -> None:
        for alarm in self._looking_elsewhere(await self._look(), self._waiters.everybody()):
            alarm.set()

    async def _wake(self) -> None:
        await self._look()

    async def _look(self) -> list[admission.Waiting]:
        """Wake those for whom there are slots; gives the whole queue."""
        waiters = self._waiters.everybody()
        if not waiters:
            return []
        limits = self._limits
        queue = await self._store.read(lambda uow: uow.slots.queue(limits))
        for one in queue:
            if not one.waits_for:
                self._wake_one(one.operation_id)
        return queue

    @property
    def _limits(self) -> admission.SlotLimits:
        options = self.config.default
        return admission.SlotLimits(
            outgoing=options.max_concurrent_live_migrations,
            incoming=options.max_concurrent_incoming_live_migrations,
            cluster=options.max_concurrent_live_migrations_cluster,
        )

    def _hand_over(self, work: Coroutine[Any, Any, None], given: admission.Given) -> None:
        self._background.spawn(work, f"hand over the slots of {given.operation_id}")

    def _freed(self, given: admission.Given) -> None:
        """Wake those who are next, with whichever conductor they wait."""
        following = self._following.pop(given.operation_id, ())
        woken = {one for one in following if self._wake_one(one)}
        self._hand_over(self._give(given, woken), given)

    async def _prepare(self, given: admission.Given) -> None:
        """See who is next for slots that will be free, and to it that their checks are not too old by then."""
        following = await self._next_for(given)
        if given.operation_id not in self._following:
            # They are free by now, or another conductor's business.
            return
        self._following[given.operation_id] = following
        await self._wake_all(following, within_seconds=_ENDING_SECONDS)

    async def _prepare_early(self, given: admission.Given) -> None:
        """Do so as a transfer starts: checks take longer than what is left to do once it has ended, and most end before these are too old.

        Whoever is first at either of its hosts may be next, though at the other end nothing is free now.
        """
        following = await self._next_for(given, is_early=True)
        within_seconds = max(_ENDING_SECONDS, self.config.conductor.check_ttl_seconds * _TRANSFER_SHARE)
        await self._wake_all(following, within_seconds=within_seconds)

    async def _give(self, given: admission.Given, woken: set[str]) -> None:
        # Asked again: slots that others gave back meanwhile may let others start with these.
        following = await self._next_for(given)
        await self._wake_all([one for one in following if one not in woken])

    async def _wake_all(self, operation_ids: Sequence[str], *, within_seconds: float = 0.0) -> None:
        """Wake them, with whichever conductor they wait."""
        others = tuple(one for one in operation_ids if not self._wake_one(one, within_seconds=within_seconds))
        if not others:
            return
        told = messages.SlotsFreed(conductor_id=self._conductor_id, operation_ids=others, within_seconds=within_seconds)
        try:
            await self._others.cast(addresses.conductors(), told)
        except errors.Error as error:
            _log.debug("The other conductors find by themselves that slots are free.", slug=error.slug)

    async def _next_for(self, given: admission.Given, *, is_early: bool = False) -> Sequence[str]:
        limits = self._limits
        try:
            return await self._store.look(lambda uow: uow.slots.next_for(given, limits, is_early=is_early))
        except errors.DatabaseUnavailable as error:
            _log.info("Who is next for a slot is found by the poll.", migration_id=given.operation_id, slug=error.slug)
            return ()

    def _wake_one(self, operation_id: str, *, within_seconds: float = 0.0) -> bool:
        """Wake one that waits; False: it does not wait here."""
        waiter = self._waiters.one(operation_id)
        if waiter is None:
            return False
        on, alarm = waiter
        if within_seconds and not on.are_checks_old(within_seconds):
            # They will not have to run again.
            return True
        on.free_within_seconds = within_seconds
        alarm.set()
        return True

    def _looking_elsewhere(self, queue: list[admission.Waiting], waiters: Mapping[str, Waiter]) -> Iterator[asyncio.Event]:
        """Give those for whom only the destination is full, and whose checks are so old that they may choose another."""
        left = _LOOKING_ELSEWHERE
        for one in queue:
            if left == 0 or one.operation_id not in waiters:
                continue
            on, alarm = waiters[one.operation_id]
            is_only_full = one.waits_for == (f"incoming:{one.destination}",)
            is_named = getattr(on.operation.request, "host", None) is not None
            if is_only_full and not is_named and on.are_checks_old():
                left -= 1
                yield alarm
