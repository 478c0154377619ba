# SPDX-License-Identifier: Apache-2.0
"""Step: take the power of a guest that goes back, if it has not shut itself down. Its definition and disks stay."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, operation
from wherry.rpc import instance_events, messages

_EVENT = instance_actions.EventName.REVERT_RESIZE


class StopDestination:
    """The source must not start its guest before the destination has said that it does not run there."""

    name = operation.StepName.STOP_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the guest may be off."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask; a silent destination is waited for, unless an operator calls it dead."""
        try:
            outcome = (await ends.ask(on, on.destination, messages.RevertResize(**on.moving))).outcome
        except ends.HostDead:
            outcome = instance_events.outcome_of(errors.DestinationDown(host=on.destination))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if ends.is_passing(on, error):
                raise
            return ends.refused(on, _EVENT, on.destination, instance_events.outcome_of(error))
        transition = operation.Transition(
            step=operation.StepName.RESTORE,
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=outcome),),
            started=(instance_actions.EventStart(name=instance_actions.EventName.FINISH_REVERT_RESIZE, host=on.plan.source),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """Start it there again."""
        await ends.ask(on, on.destination, messages.StartAgain(**on.moving))
