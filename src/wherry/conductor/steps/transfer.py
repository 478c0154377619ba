# SPDX-License-Identifier: Apache-2.0
"""Step: have the source send the guest, and follow what it reports until the hypervisor has no job any more.

The end of the job is not an outcome: the next step reads both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

from wherry import errors
from wherry.conductor import drive
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import deadline, instance_actions, migration, operation, states
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Transfer:
    """Starts the transfer, or joins it after a take-over, and waits for facts."""

    name = operation.StepName.TRANSFER

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort is the source's to carry out from here on."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Advance by the next reported fact; command and ask only what is still open."""
        known = self._by_reports(on, await on.told.read(on.store))
        if known is not None:
            return known
        try:
            return await self._command(on)
        except (errors.Unavailable, errors.Timeout) as error:
            return await self._silent(on, error)
        except (errors.LeaseLost, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if error.retryable or on.attempts < on.config.conductor.step_retry_limit:
                raise
            # It answers, and not as it should: whether anything was started is read from both sides.
            _log.error("The source cannot be told.", migration_id=on.operation.id, host=on.plan.source, **logs.told(error))
            return drive.Advance(transition=operation.Transition(step=operation.StepName.SETTLE, reason=drive.reason_of(error)))

    async def undo(self, on: drive.Drive) -> None:
        """Let the guest run on at the source, if it was we who stopped it."""
        await on.ask(on.plan.source, messages.RollBackSource(**on.planned))

    async def _command(self, on: drive.Drive) -> drive.Answer:
        if not on.has_commanded:
            refused = await self._start(on)
            if refused is not None:
                return refused
        await self._deliver_intents(on)
        return await self._ask_after_silence(on)

    async def _silent(self, on: drive.Drive, error: errors.Error) -> drive.Answer:
        """Say on the record that the source does not answer, and ask on; an operator's word that it is dead ends that.

        :raises Error: the one given, to have the step run again after a pause.
        """
        if isinstance(error, errors.DatabaseUnavailable):
            raise error
        record = await on.store.read(lambda uow: uow.hosts.get(on.plan.source))
        if record.is_forced_down:
            return drive.Advance(transition=operation.Transition(step=operation.StepName.SETTLE))
        is_long = on.clock.monotonic() - on.heard_at >= on.config.conductor.agent_silence_seconds
        if is_long and not _is_called_silent(on):
            return drive.Advance(transition=operation.Transition(reason=drive.unreachable("source_unreachable", on.plan.source)))
        raise error

    async def _start(self, on: drive.Drive) -> drive.Advance | None:
        try:
            await on.ask(on.plan.source, messages.StartTransfer(**on.planned))
        except errors.TransferRefused as error:
            return _refused(on, error)
        on.has_commanded = True
        on.heard_at = on.clock.monotonic()
        return None

    def _by_reports(self, on: drive.Drive, reports: Sequence[operation.Report]) -> drive.Advance | None:
        kinds = {report.kind: report for report in reports}
        if on.migration.status is states.Status.PREPARING and kinds:
            return drive.Advance(transition=_started(on, kinds.get(operation.ReportKind.TRANSFER_STARTED)))
        if on.migration.status is states.Status.RUNNING and operation.ReportKind.POST_COPY_STARTED in kinds:
            return drive.Advance(transition=operation.Transition(event=states.Event.POST_COPY_STARTED))
        if operation.ReportKind.TRANSFER_ENDED in kinds:
            return drive.Advance(transition=operation.Transition(step=operation.StepName.SETTLE))
        return _changed(on, reports)

    async def _deliver_intents(self, on: drive.Drive) -> None:
        # Acknowledged in the record with the outcome: whoever takes over before that delivers them again.
        for intent in on.intents:
            if intent.id in on.delivered or intent.kind not in drive.INTENT_EVENTS:
                # A deletion waits for the end; the abort that was asked for with it is what the source is told.
                continue
            await on.store.run(_event_opened(on, intent))
            command = messages.DeliverIntent(**on.ids, kind=intent.kind, request_id=intent.request_id)
            try:
                await on.ask(on.plan.source, command)
            except (errors.NoActiveTransfer, errors.PostCopyUnderWay):
                # The job ended first, or can no longer be aborted; the outcome says so in the intent's own event.
                continue
            except errors.Unsupported as error:
                await on.store.run(_refused_for_good(on, intent, error))
                _log.warning("The source cannot do it.", migration_id=on.operation.id, intent=intent.kind.value, **logs.told(error))
            else:
                _log.info("The source took it up.", migration_id=on.operation.id, intent=intent.kind.value, host=on.plan.source)
            on.delivered.add(intent.id)

    async def _ask_after_silence(self, on: drive.Drive) -> drive.Answer:
        limit = on.config.conductor.agent_silence_seconds
        if on.clock.monotonic() - on.heard_at < limit:
            return drive.Wait(seconds=limit, why="the transfer runs")
        observed = await on.ask(on.plan.source, messages.ObserveGuest(**on.ids))
        on.heard_at = on.clock.monotonic()
        if _is_called_silent(on):
            return drive.Advance(transition=operation.Transition(clear_reason=True))
        if observed.observation.has_job:
            # It has a job that we may have to tell it to watch: a lost journal is rebuilt by the command.
            on.has_commanded = False
            on.delivered.clear()
            return drive.Wait(seconds=0, why="the source is told again")
        return drive.Advance(transition=operation.Transition(step=operation.StepName.SETTLE))


def _is_called_silent(on: drive.Drive) -> bool:
    return on.migration.reason is not None and on.migration.reason.slug == "source_unreachable"


def _started(on: drive.Drive, report: operation.Report | None) -> operation.Transition:
    """Give the move to `running`, with the budget that the source resolved."""
    if report is None:
        return operation.Transition(event=states.Event.TRANSFER_STARTED)
    body = messages.TransferStarted.model_validate(report.body)
    # Durations travel, so that clocks need not agree; and nobody may have been here to hear of it when it began.
    began = deadline.began_at(report.received_at, body.elapsed_seconds)
    return operation.Transition(
        event=states.Event.TRANSFER_STARTED, started_at=began, deadline=body.deadline, deadline_at=deadline.ends_at(began, body.deadline)
    )


def _changed(on: drive.Drive, reports: Sequence[operation.Report]) -> drive.Advance | None:
    """Give the move to the budget that the source keeps now, where the configuration has changed it since."""
    for report in reversed(reports):
        if report.kind is not operation.ReportKind.ACTION_TAKEN:
            continue
        body = messages.ActionTaken.model_validate(report.body)
        if body.deadline is None:
            continue
        began = on.migration.started_at
        if body.elapsed_seconds is not None:
            began = deadline.began_at(report.received_at, body.elapsed_seconds)
        if body.deadline == on.migration.deadline or began is None:
            return None
        return drive.Advance(transition=operation.Transition(deadline=body.deadline, deadline_at=deadline.ends_at(began, body.deadline)))
    return None


def _refused(on: drive.Drive, error: errors.TransferRefused) -> drive.Advance:
    ending = migration.Ending(event=states.Event.ROLLED_BACK, reason=drive.reason_of(error), guest_state=on.guest.state)
    transition = drive.undo(
        ending,
        on.plan,
        finished=(
            instance_actions.EventFinish(
                name=instance_actions.EventName.TRANSFER, host=on.plan.source, outcome=instance_events.outcome_of(error)
            ),
        ),
        started=(instance_actions.EventStart(name=instance_actions.EventName.ROLL_BACK, host=on.destination),),
    )
    return drive.Advance(transition=transition)


def _event_opened(on: drive.Drive, intent: operation.Intent) -> stores.Unit[None]:
    """Open the event of the intent's own action; the outcome closes it."""
    start = instance_actions.EventStart(name=drive.INTENT_EVENTS[intent.kind], host=on.plan.source)

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.actions.start_event(on.operation.instance_uuid, intent.request_id, start)

    return unit


def _refused_for_good(on: drive.Drive, intent: operation.Intent, error: errors.Error) -> stores.Unit[None]:
    """Close the event of the intent's own action with the real cause; asking again would change nothing."""
    finish = instance_actions.EventFinish(
        name=drive.INTENT_EVENTS[intent.kind], host=on.plan.source, outcome=instance_events.outcome_of(error), request_id=intent.request_id
    )

    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.operations.acknowledge_intent(intent, finish)

    return unit
