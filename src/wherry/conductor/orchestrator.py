# SPDX-License-Identifier: Apache-2.0
"""The loop that drives operations: run the step, store its answer, go on. One task an operation, one owner an operation.

Knows no step's business: the steps decide, this stores. Only what is stored counts; everything in memory may be lost at any moment.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Sequence

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor import chores as chore_keeping
from wherry.conductor import drive, intents, steps
from wherry.conductor import lease as leases
from wherry.conductor import queue as queues
from wherry.conductor import survey as surveys
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import instance_actions, migration, operation, states
from wherry.rpc import client as clients
from wherry.telemetry import logs, metrics

_log = logs.get_logger(__name__)

#: More of them would not fit into a number; the longest pause is reached long before.
_MOST_DOUBLINGS = 30
#: Shortest pause between two looks.
_SHORTEST_PAUSE_SECONDS = 0.001
#: Pause before a step that another writer was ahead of is run again.
_RACE_PAUSE_SECONDS = 0.01
_UNTOUCHED = states.UNCHECKED | {states.Status.QUEUED}


@dataclasses.dataclass(kw_only=True, slots=True)
class _Journey:
    """One operation that this conductor drives: its task, its alarm clock, and who waits for its checks."""

    task: asyncio.Task[None]
    alarm: asyncio.Event
    #: Set when a person asked for something: the intents are read again.
    has_news: bool
    #: Done with None when the checks passed, or with the error.
    checks: asyncio.Future[errors.Error | None]
    #: The error with which the checks ended the migration here, whole; a record keeps only its words.
    refusal: errors.Error | None = None
    #: What its steps work with, once it was taken on.
    on: drive.Drive | None = None


class Orchestrator:
    """Drives the operations that this conductor owns."""

    def __init__(
        self,
        *,
        store: stores.Store,
        agents: clients.Client,
        clock: clocks.Clock,
        config: configs.Config,
        lease: leases.Lease,
        counters: metrics.Metrics,
        chores: chore_keeping.Chores,
    ) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock
        self._config = config
        self._lease = lease
        self._counters = counters
        self._chores = chores
        self._journeys: dict[str, _Journey] = {}
        #: Operations that were claimed for a journey which is about to begin.
        self._claimed: dict[str, drive.Drive] = {}
        self._survey = surveys.Survey(store)
        #: Who waits for slots here; somebody must run its `keep`.
        waiters, own = _waiters(self._journeys), lease.conductor_id
        self.queue = queues.Queue(store=store, others=agents, conductor_id=own, clock=clock, config=config, waiters=waiters)

    @property
    def conductor_id(self) -> str:
        """Whose it is."""
        return self._lease.conductor_id

    @property
    def may_command(self) -> bool:
        """Whether its lease holds."""
        return self._lease.is_held

    @property
    def config(self) -> configs.Config:
        """The configuration that holds now."""
        return self._config

    @property
    def driven(self) -> frozenset[str]:
        """Ids of the operations that are on their way here."""
        return frozenset(self._journeys)

    def nudge(self, operation_id: str, *, has_news: bool = False, report: operation.Report | None = None) -> None:
        """Take an operation on, or wake it: something about it was stored. Doubled and mistaken nudges do no harm.

        :param report: what was stored here; None where that was done elsewhere, or is not known.
        """
        journey = self._journeys.get(operation_id)
        if journey is None:
            journey = self._begin(operation_id)
        journey.has_news = journey.has_news or has_news
        if journey.on is not None:
            journey.on.told.note(report)
        journey.alarm.set()

    def reload(self, config: configs.Config) -> None:
        """Go on with these values, operations under way included."""
        self._config = self.queue.config = config
        for journey in self._journeys.values():
            if journey.on is not None:
                journey.on.config = config
        self.queue.look()

    async def take_up(self, operation_id: str, start: instance_actions.EventStart) -> operation.Operation:
        """Make this conductor the one to run the operation's checks, and open the event that tells of it, in one transaction.

        :raises LeaseLost: another conductor is, or the checks are over.
        """
        self._lease.require()
        taken = await self._store.put(lambda uow: uow.operations.take_up(operation_id, self._lease.conductor_id, start))
        if taken is None:
            raise errors.LeaseLost(conductor=self._lease.conductor_id)
        claimed, record, is_asked = taken
        intents = await self._store.look(lambda uow: uow.operations.pending_intents(operation_id)) if is_asked else ()
        if operation_id not in self._journeys:
            self._claimed[operation_id] = self._drive(claimed, record, intents)
        return claimed

    async def checked(self, operation_id: str) -> None:
        """Drive an operation, and return when its checks have passed.

        :raises CheckFailed: (or another error of the checks) when they did not.
        """
        self.nudge(operation_id)
        journey = self._journeys[operation_id]
        error = await asyncio.shield(journey.checks)
        if error is not None:
            raise error

    async def stop(self) -> None:
        """Stop driving. What was on its way stays as last stored, for the next owner."""
        journeys = list(self._journeys.values())
        for journey in journeys:
            journey.task.cancel()
        await asyncio.gather(*(journey.task for journey in journeys), return_exceptions=True)
        await self.queue.stop()
        await self._survey.stop()

    # ------------------------------------------------------------ one journey

    def _begin(self, operation_id: str) -> _Journey:
        journey = _Journey(
            task=asyncio.create_task(self._travel(operation_id), name=f"operation {operation_id}"),
            alarm=asyncio.Event(),
            has_news=False,
            checks=asyncio.get_running_loop().create_future(),
        )
        self._journeys[operation_id] = journey
        return journey

    async def _travel(self, operation_id: str) -> None:
        journey = self._journeys[operation_id]
        try:
            on = journey.on = await self._take_on(operation_id)
            if on is not None:
                self._tell_waiters(journey, on)
                while on.operation.step is not operation.StepName.DONE:
                    await self._go_one_step(journey, on)
                    self._tell_waiters(journey, on)
        except (errors.LeaseLost, errors.StaleEpoch) as error:
            _log.warning("The operation is another conductor's now.", migration_id=operation_id, slug=error.slug, error=error.message)
        except errors.DatabaseUnavailable as error:
            _log.warning("The database is away; the operation waits for the sweep.", migration_id=operation_id, error=error.message)
        except Exception:
            _log.exception("The operation failed unexpectedly and waits for the sweep.", migration_id=operation_id)
        finally:
            del self._journeys[operation_id]
            self._survey.settle(operation_id)
            self.queue.forget(operation_id)
            if not journey.checks.done():
                journey.checks.set_result(errors.LeaseLost(conductor=self._lease.conductor_id))

    async def _take_on(self, operation_id: str) -> drive.Drive | None:
        self._lease.require()
        return self._claimed.pop(operation_id, None) or await self._store.run(lambda uow: self._claim(uow, operation_id))

    async def _claim(self, uow: uows.UnitOfWork, operation_id: str) -> drive.Drive | None:
        claimed = await uow.operations.claim(operation_id, self._lease.conductor_id)
        if claimed is None:
            return None
        return self._drive(claimed, await _record_of(uow, claimed), await uow.operations.pending_intents(claimed.id))

    def _drive(self, claimed: operation.Operation, record: migration.Migration | None, intents: Sequence[operation.Intent]) -> drive.Drive:
        return drive.Drive(
            operation=claimed,
            record=record,
            intents=tuple(intents),
            store=self._store,
            agents=self._agents,
            clock=self._clock,
            config=self._config,
            lease=self._lease,
            survey=self._survey,
            heard_at=self._clock.monotonic(),
        )

    async def _go_one_step(self, journey: _Journey, on: drive.Drive) -> None:
        journey.alarm.clear()
        try:
            answer = await self._answer(journey, on)
            if isinstance(answer, drive.Advance):
                journey.refusal = answer.refusal
                await self._store_advance(on, answer)
                return
        except drive.Postponed as postponed:
            answer = postponed.wait
        except errors.StaleWrite:
            await self._read_again(journey, on)
            answer = drive.Wait(seconds=_RACE_PAUSE_SECONDS, why="another writer was first")
        on.is_step_new = False
        if not await _pause(journey, answer):
            # Nobody said that anything was stored; it may have been all the same.
            on.told.forget()

    async def _answer(self, journey: _Journey, on: drive.Drive) -> drive.Answer:
        """Run the step; whatever goes wrong in it has an answer here, or the operation would be left."""
        step = steps.STEPS[on.operation.kind][on.operation.step]
        try:
            if journey.has_news:
                journey.has_news = False
                on.intents = tuple(await self._store.look(lambda uow: uow.operations.pending_intents(on.operation.id)))
            return await step.check(on) or await step.execute(on)
        except (drive.Postponed, errors.StaleWrite, errors.LeaseLost, errors.StaleEpoch, errors.DatabaseUnavailable):
            raise
        except Exception as error:
            answer = self._after_error(on, step.name, error)
            if isinstance(answer, drive.Wait):
                on.attempts += 1
            return answer

    async def _store_advance(self, on: drive.Drive, answer: drive.Advance) -> None:
        transition = answer.transition
        self._lease.require()
        before = on.record
        run = self._store.put if answer.guard is None and not answer.owed else self._store.run
        try:
            on.operation, on.record, following = await run(functools.partial(_advance, on, answer))
        finally:
            self._survey.settle(on.operation.id)
        self._chores.pay_soon(on, answer.owed)
        if following is not None:
            self.nudge(following)
        if transition.step is not None:
            on.attempts, on.is_step_new = 0, True
        if before is not None:
            _note_status(on, before.status, self._counters)
            self.queue.follow(before, on.migration, transition.step)

    async def _read_again(self, journey: _Journey, on: drive.Drive) -> None:
        """Another writer was first: go on from what is stored now, if it is still ours."""
        current = await self._store.look(lambda uow: uow.operations.get(on.operation.id))
        if current.owner != on.operation.owner or current.epoch != on.operation.epoch:
            raise errors.LeaseLost(conductor=self._lease.conductor_id)
        on.record = await self._store.read(lambda uow: _record_of(uow, current))
        on.told.forget()
        on.operation = current
        journey.has_news = True

    def _after_error(self, on: drive.Drive, step: operation.StepName, error: Exception) -> drive.Answer:
        known = (
            error
            if isinstance(error, errors.Error)
            else errors.CheckCrashed(host=on.plan.destination or on.plan.source, detail=_text(error))
        )
        if not isinstance(error, errors.Error):
            _log.exception("A step failed unexpectedly.", migration_id=on.operation.id, step=step.value)
        is_passing = known.retryable and not isinstance(known, errors.CheckFailed) and on.attempts < self._config.conductor.step_retry_limit
        if step in operation.CHECKING and on.migration.status in _UNTOUCHED and not is_passing:
            return drive.refused(known)
        _log.info("A step is run again after a pause.", migration_id=on.operation.id, step=step.value, slug=known.slug, error=known.message)
        section = self._config.conductor
        pause = min(section.step_retry_max_seconds, section.step_retry_initial_seconds * 2 ** min(on.attempts, _MOST_DOUBLINGS))
        return drive.Wait(seconds=pause, why=known.message)

    # ------------------------------------------------------------- who waits

    def _tell_waiters(self, journey: _Journey, on: drive.Drive) -> None:
        if journey.checks.done() or on.record is None or on.record.status in states.UNCHECKED:
            return
        if on.migration.status is states.Status.ERROR and journey.refusal is None and on.migration.reason is not None:
            # Another conductor ended it while a client of ours waited.
            journey.refusal = errors.CheckFailed(detail=on.migration.reason.message)
        journey.checks.set_result(journey.refusal)


def _queued(journeys: dict[str, _Journey]) -> dict[str, queues.Waiter]:
    return {
        operation_id: (journey.on, journey.alarm)
        for operation_id, journey in journeys.items()
        if journey.on is not None and journey.on.operation.step is operation.StepName.ADMIT
    }


def _waiters(journeys: dict[str, _Journey]) -> queues.Waiters:
    return queues.Waiters(everybody=functools.partial(_queued, journeys), one=functools.partial(_waiter, journeys))


def _waiter(journeys: dict[str, _Journey], operation_id: str) -> queues.Waiter | None:
    journey = journeys.get(operation_id)
    if journey is None or journey.on is None or journey.on.operation.step is not operation.StepName.ADMIT:
        return None
    return journey.on, journey.alarm


async def _record_of(uow: uows.UnitOfWork, of: operation.Operation) -> migration.Migration | None:
    return None if of.migration_uuid is None else await uow.migrations.get_by_uuid(of.migration_uuid)


async def _advance(
    on: drive.Drive, answer: drive.Advance, uow: uows.UnitOfWork
) -> tuple[operation.Operation, migration.Migration | None, str | None]:
    if answer.guard is not None:
        await answer.guard(uow)
    stored = await uow.operations.advance(on.operation, answer.transition)
    for owed in answer.owed:
        await chore_keeping.store(uow, on, owed)
    # Alone it is stored only where nobody wants anything.
    if uow.session.is_single or answer.transition.step is not operation.StepName.DONE:
        return *stored, None
    return *stored, await intents.answer(uow, *stored, answer.transition.event)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _note_status(on: drive.Drive, before: states.Status, counters: metrics.Metrics) -> None:
    """Log a change of the migration's status, and count its end."""
    record = on.migration
    if record.status is before:
        return
    _log.info(
        f"The migration went from {before.value} to {record.status.value}.",
        action="transition",
        migration_id=record.uuid,
        instance_uuid=record.instance_uuid,
        source=record.source_compute,
        destination=record.dest_compute,
        request_id=on.operation.request_id,
        reason=record.reason.slug if record.reason else None,
    )
    if record.status in states.TERMINAL:
        counters.migration_ended(record.status.value, record.reason.slug if record.reason else None, _seconds_of(record))


async def _pause(journey: _Journey, wait: drive.Wait) -> bool:
    """Pause; whether somebody ended it."""
    if wait.seconds <= 0:
        return False
    try:
        # What is left of a time is sometimes a float's last crumb, too short for the clock to pass it.
        async with asyncio.timeout(max(_SHORTEST_PAUSE_SECONDS, wait.seconds)):
            return await journey.alarm.wait()
    except TimeoutError:
        return False


def _seconds_of(record: migration.Migration) -> float | None:
    """Give how long the copy took; nothing for a cold one, which waits for a person's word."""
    is_live = record.migration_type is migration.MigrationType.LIVE_MIGRATION
    return (record.finished_at - record.started_at).total_seconds() if is_live and record.finished_at and record.started_at else None
