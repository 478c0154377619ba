# SPDX-License-Identifier: Apache-2.0
"""Step: make sure that the source could take its guest up again, before anything is done to it at the destination."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, operation
from wherry.rpc import instance_events, messages

_EVENT = instance_actions.EventName.REVERT_RESIZE


class CheckReturn:
    """Touches nothing. A source that does not answer, or lacks something, leaves all as it is."""

    name = operation.StepName.CHECK_RETURN

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state ends it here."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="Given up: the server's state was reset.")
        return ends.refused(on, _EVENT, on.destination, outcome)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask the source."""
        try:
            await ends.ask(on, on.plan.source, messages.CheckReturn(**on.moving))
        except ends.HostDead:
            error = errors.SourceDown(host=on.plan.source)
            return ends.refused(on, _EVENT, on.destination, instance_events.outcome_of(error))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if error.retryable and on.attempts < on.config.conductor.step_retry_limit:
                raise
            return ends.refused(on, _EVENT, on.destination, instance_events.outcome_of(error))
        is_orderly = on.config.conductor.shutdown_timeout_seconds > 0
        step = operation.StepName.SHUT_DOWN if is_orderly else operation.StepName.STOP_DESTINATION
        return drive.Advance(transition=operation.Transition(step=step))

    async def undo(self, on: drive.Drive) -> None:
        """There is nothing to undo."""
