# SPDX-License-Identifier: Apache-2.0
"""Step: open the event of a power action, and say how to go about it."""

from __future__ import annotations

from wherry.conductor import drive
from wherry.conductor.steps import shut_down
from wherry.model import instance_actions, operation, power


class Begin:
    """Touches nothing. A guest that is to stop is asked to shut itself down first, if it is given time for that."""

    name = operation.StepName.BEGIN

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing ends it here: the next step gives up what was reset or deleted meanwhile, and the event tells that."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Choose the step that follows."""
        is_orderly = on.power_action in power.ORDERLY and shut_down.time_of(on) > 0
        start = instance_actions.EventStart(name=power.TERMS[on.power_action].event, host=on.plan.source)
        step = operation.StepName.SHUT_DOWN if is_orderly else operation.StepName.CHANGE_POWER
        return drive.Advance(transition=operation.Transition(step=step, started=(start,)))

    async def undo(self, on: drive.Drive) -> None:
        """There is nothing to undo."""
