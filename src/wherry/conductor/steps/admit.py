# SPDX-License-Identifier: Apache-2.0
"""Step: wait until the source, the destination and the cluster have a slot, and take all three or none."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import check_destination, select_destination
from wherry.db import uow as uows
from wherry.db.repositories import admission
from wherry.model import instance_actions, operation, states
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


#: Normally the queue wakes it.
_LONGEST_WAIT_SECONDS = 60.0


class Admit:
    """Counts the slots under lock, in the transaction that takes them: counting alone overshoots with two conductors."""

    name = operation.StepName.ADMIT

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort ends it here; checks that are too old run again."""
        if on.wants(operation.IntentKind.ABORT):
            await check_destination.let_go(on)
            return drive.Advance(transition=drive.aborted_untouched())
        within_seconds = on.free_within_seconds or 0.0
        if within_seconds:
            on.free_within_seconds = None
        # However short the time that they hold: those that have just passed are not run again before the first look at the slots.
        if on.is_step_new or not on.are_checks_old(within_seconds):
            return None
        return await self._check_again(on, is_next=within_seconds > 0)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Let go of the storage probes, then take the slots."""
        if on.facts.probes and not on.has_released:
            lost = await self._release(on)
            if lost is not None:
                return lost
        if on.free_within_seconds == 0:
            on.free_within_seconds = None
        else:
            # Not under lock, which those wait for whose turn it is. Slots given back since then come with a word.
            full = _full(on, await on.store.look(lambda uow: uow.slots.count(on.plan.source, on.destination, on.operation.id)))
            if full is not None:
                return full
        facts = dataclasses.replace(on.plan.facts, probes=()) if on.plan.facts else None
        transition = operation.Transition(
            step=operation.StepName.PREPARE,
            event=states.Event.ADMITTED,
            plan=dataclasses.replace(on.plan, facts=facts),
            started=(instance_actions.EventStart(name=instance_actions.EventName.PREPARE, host=on.destination),),
        )
        return drive.Advance(transition=transition, guard=self._take_slots(on))

    async def undo(self, on: drive.Drive) -> None:
        """A slot is the row's status: it goes with it."""

    async def _release(self, on: drive.Drive) -> drive.Advance | None:
        """Have the destination remove its probes; one that has gone away since its check is given up."""
        try:
            await check_destination.CheckDestination().undo(on)
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if isinstance(error, errors.StaleEpoch):
                await on.require_own(error)
            elif on.attempts < on.config.conductor.step_retry_limit:
                raise
            return dataclasses.replace(check_destination.given_up(on, error), owed=(check_destination.letting_go(on),))
        on.has_released = True
        return None

    def _take_slots(self, on: drive.Drive) -> drive.Guard:
        source, destination = on.plan.source, on.destination

        async def guard(uow: uows.UnitOfWork) -> None:
            with_cluster = on.config.default.max_concurrent_live_migrations_cluster > 0
            counts = await uow.slots.lock_and_count(source, destination, on.operation.id, with_cluster=with_cluster)
            if counts.is_abort_asked:
                # Recorded since the check above: run the step again, which sees it.
                raise errors.StaleWrite(what="Operation", name=on.operation.id)
            full = _full(on, counts)
            if full is not None:
                raise drive.Postponed(full)

        return guard

    async def _check_again(self, on: drive.Drive, *, is_next: bool) -> drive.Advance | None:
        """Run the checks again once a slot is in sight; with the destination's slots taken, at another that has one.

        :param is_next: the slots are held still, and may be free before long.
        """
        if not is_next and not await self._is_slot_in_sight(on):
            return None
        if on.facts.probes and not on.has_released:
            lost = await self._release(on)
            if lost is not None:
                return lost
        _log.info("The checks are too old and run again.", migration_id=on.operation.id, host=on.destination)
        return drive.Advance(
            transition=operation.Transition(
                step=operation.StepName.SELECT_DESTINATION,
                plan=dataclasses.replace(on.plan, facts=None, storage=None, checked_at=None),
            )
        )

    async def _is_slot_in_sight(self, on: drive.Drive) -> bool:
        counts = await on.store.look(lambda uow: uow.slots.count(on.plan.source, on.destination, exclude_operation=on.operation.id))
        options = on.config.default
        out = options.max_concurrent_live_migrations
        cluster = options.max_concurrent_live_migrations_cluster
        if (out and counts.outgoing >= out) or (cluster and counts.cluster >= cluster):
            return False
        into = options.max_concurrent_incoming_live_migrations
        return not into or counts.incoming < into or (on.request.host is None and await _has_alternative(on, into))


def _full(on: drive.Drive, counts: admission.SlotCounts) -> drive.Wait | None:
    """Give the wait for a slot of which there is none; None where there is one of each kind."""
    options = on.config.default
    for held, limit, where in (
        (counts.outgoing, options.max_concurrent_live_migrations, f"out of {on.plan.source}"),
        (counts.incoming, options.max_concurrent_incoming_live_migrations, f"into {on.destination}"),
        (counts.cluster, options.max_concurrent_live_migrations_cluster, "in the cluster"),
    ):
        if limit and held >= limit:
            return drive.Wait(seconds=_LONGEST_WAIT_SECONDS, why=f"{held} of {limit} slots {where} are taken")
    return None


async def _has_alternative(on: drive.Drive, into: int) -> bool:
    """Whether another host fits that has a slot free for an incoming migration."""
    hosts = await on.hosts_by_name()
    return await select_destination.fits_one_of(on, select_destination.with_free_slot(hosts.values(), into, on.destination), hosts)
