# SPDX-License-Identifier: Apache-2.0
"""Step: have the source's hypervisor say whether the guest may be shut down and leave, and which of its disks travel."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import check_destination as live
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, operation, server, states
from wherry.rpc import messages

_PREP = instance_actions.EventName.PREP_RESIZE


class CheckSource:
    """Asks the source's agent. Passing it means that the checks have passed: the move begins, and whoever waits is answered."""

    name = operation.StepName.CHECK_SOURCE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state ends it here, but for the probes."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        await ends.forget_destination(on)
        return drive.Advance(transition=drive.aborted_untouched())

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, and keep the storage plan."""
        try:
            answer = await on.ask(on.plan.source, messages.CheckDeparture(**on.moving))
        except (errors.LeaseLost, errors.StaleEpoch):
            raise
        except errors.Error as error:
            is_answer = isinstance(error, errors.CheckFailed)
            if error.retryable and not is_answer and on.attempts < on.config.conductor.step_retry_limit:
                raise
            refused = live.refused(on, error, _PREP, on.destination) if is_answer else drive.refused(error)
            return dataclasses.replace(refused, owed=ends.letting_go(on))
        transition = operation.Transition(
            step=operation.StepName.PREPARE,
            event=states.Event.MOVE_STARTED,
            plan=ends.with_plan(on, storage=answer.storage, has_autostart=answer.has_autostart, checked_at=on.clock.now()),
            server=server.ServerChange(task_state=server.TaskState.RESIZE_MIGRATING),
            finished=(
                instance_actions.EventFinish(name=_PREP, host=on.destination, outcome=answer.outcome),
                instance_actions.EventFinish(
                    name=instance_actions.EventName.COLD_MIGRATE, host=on.config.default.host, outcome=instance_actions.SUCCEEDED
                ),
            ),
            started=(instance_actions.EventStart(name=instance_actions.EventName.RESIZE_INSTANCE, host=on.plan.source),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """The source's check changes nothing."""
