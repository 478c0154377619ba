# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination make ready."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import check_destination, select_destination
from wherry.model import instance_actions, migration, operation, states
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_EVENT = instance_actions.EventName.PREPARE


class Prepare:
    """Asks the destination's agent to create what the guest needs there. One that cannot is cleared, and the next one tried."""

    name = operation.StepName.PREPARE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort begins the undo: a first try may have created something."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        reason = migration.Reason(slug="requested", message="Aborted on request before the transfer started.")
        return self._give_up(on, states.Event.ABORTED, reason)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask; whatever the answer was, the guest has not been touched."""
        try:
            answer = await on.ask(on.destination, messages.PrepareDestination(**on.planned))
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if error.retryable and on.attempts < on.config.conductor.step_retry_limit:
                raise
            if await select_destination.has_another(on):
                return await self._next(on, error)
            return self._give_up(on, states.Event.ROLLED_BACK, drive.reason_of(error))
        on.has_commanded = False
        # Nobody commands the source before what follows is stored.
        on.told.begin()
        transition = operation.Transition(
            step=operation.StepName.TRANSFER,
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=answer.outcome),),
            started=(instance_actions.EventStart(name=instance_actions.EventName.TRANSFER, host=on.plan.source),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """Have the destination remove what it created."""
        await on.ask(on.destination, messages.RollBackDestination(**on.planned))

    async def _next(self, on: drive.Drive, error: errors.Error) -> drive.Advance:
        """Clear this destination, or owe it that, and go back to choose another: the guest has not been touched.

        Cleared before another is chosen, which may share the directory in which this one was to make a disk.
        """
        _log.warning("The destination could not make ready; another is tried.", migration_id=on.operation.id, host=on.destination)
        await check_destination.let_go(on)
        transition = operation.Transition(
            step=operation.StepName.SELECT_DESTINATION,
            event=states.Event.DESTINATION_LOST,
            plan=check_destination.plan_without(on, error),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=instance_events.outcome_of(error)),),
        )
        return drive.Advance(transition=transition)

    def _give_up(self, on: drive.Drive, event: states.Event, reason: migration.Reason) -> drive.Advance:
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=reason.message)
        transition = drive.undo(
            migration.Ending(event=event, reason=reason, guest_state=on.guest.state, is_source_commanded=False),
            on.plan,
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=outcome),),
            started=(instance_actions.EventStart(name=instance_actions.EventName.ROLL_BACK, host=on.destination),),
        )
        return drive.Advance(transition=transition)
