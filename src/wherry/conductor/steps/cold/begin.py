# SPDX-License-Identifier: Apache-2.0
"""Steps: open the event of a confirmation, and of a way back."""

from __future__ import annotations

from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, operation, states


class BeginConfirm:
    """Touches nothing."""

    name = operation.StepName.BEGIN

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """What was asked for is begun in any case, so that its event tells how it ended."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """From here on it is being confirmed."""
        transition = operation.Transition(
            step=operation.StepName.CONFIRM,
            event=states.Event.CONFIRM_STARTED,
            started=(instance_actions.EventStart(name=instance_actions.EventName.CONFIRM_RESIZE, host=on.plan.source),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """There is nothing to undo."""


class BeginRevert(BeginConfirm):
    """Touches nothing."""

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """From here on it is going back."""
        transition = operation.Transition(
            step=operation.StepName.CHECK_RETURN,
            event=states.Event.REVERT_STARTED,
            # That of the way there is over.
            plan=ends.with_plan(on, power_off_at=None),
            started=(instance_actions.EventStart(name=instance_actions.EventName.REVERT_RESIZE, host=on.destination),),
        )
        return drive.Advance(transition=transition)
