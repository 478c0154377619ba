# SPDX-License-Identifier: Apache-2.0
"""Step: undo what was done, the last first, and end as was decided before."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps import prepare, transfer
from wherry.model import instance_actions, migration, operation, server
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_EVENT = instance_actions.EventName.ROLL_BACK


class RollBack:
    """The source must answer, since its guest may have to be resumed, unless an operator calls it dead; a silent destination is owed.

    A source that answers, and cannot do it for no passing reason, ends the migration in error with both sides kept.
    """

    name = operation.StepName.ROLL_BACK

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the end is decided."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Undo the transfer at the source, then the preparation at the destination."""
        ending = on.ending
        obstacle = await self._at_source(on)
        if obstacle is not None:
            return obstacle
        outcome = await self._at_destination(on)
        transition = operation.Transition(
            step=operation.StepName.DONE,
            event=ending.event,
            reason=ending.reason,
            server=server.ServerChange(clear_task=True, progress=0, **drive.states_of(ending.guest_state)),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=outcome),),
            closing=instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=ending.reason.message),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """An undo is not undone."""

    async def _at_source(self, on: drive.Drive) -> drive.Advance | None:
        """Have the source let the guest run on; give what to store instead of the end where it does not."""
        try:
            await transfer.Transfer().undo(on)
        except (errors.LeaseLost, errors.StaleEpoch, errors.DatabaseUnavailable):
            raise
        except errors.Error as error:
            if on.ending.is_source_commanded and not await _is_dead(on, error):
                return _obstacle(on, error)
            if not error.retryable and on.attempts < on.config.conductor.step_retry_limit:
                raise
            await chores.owe(on, on.plan.source, messages.RollBackSource(**on.planned), error)
        return None

    async def _at_destination(self, on: drive.Drive) -> instance_actions.EventOutcome:
        try:
            await prepare.Prepare().undo(on)
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if on.attempts < on.config.conductor.step_retry_limit:
                raise
            await chores.owe(on, on.destination, messages.RollBackDestination(**on.planned), error)
            return instance_events.outcome_of(error)
        return instance_actions.SUCCEEDED


async def _is_dead(on: drive.Drive, error: errors.Error) -> bool:
    """Whether a source that is silent was called dead by an operator."""
    if not isinstance(error, errors.Unavailable | errors.Timeout):
        return False
    return (await on.store.read(lambda uow: uow.hosts.get(on.plan.source))).is_forced_down


def _obstacle(on: drive.Drive, error: errors.Error) -> drive.Advance:
    """Say on the record that the source does not let the guest run on; end there when trying again would change nothing.

    :raises Error: the one given, to have the step run again after a pause.
    """
    if on.attempts < on.config.conductor.step_retry_limit:
        raise error
    if not error.retryable:
        message = f"{on.plan.source} could not take the transfer back ({error.message}); both sides were left as they are."
        remedy = f"Let the guest run on at {on.plan.source} by the hypervisor's own means, then reset the server's state."
        failed = instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=instance_events.outcome_of(error))
        return drive.kept_as_evidence(migration.Reason(slug="undo_failed", message=message, remedy=remedy), finished=(failed,))
    reason = migration.Reason(
        slug="undo_waits",
        message=f"{on.ending.reason.message} It is not taken back yet at {on.plan.source}, which is asked again: {error.message}",
        remedy=error.remedy,
    )
    if on.migration.reason == reason:
        raise error
    return drive.Advance(transition=operation.Transition(reason=reason))
