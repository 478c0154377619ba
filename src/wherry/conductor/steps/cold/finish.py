# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination take the guest in at its new size, and start it if it ran before."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, operation, server, states
from wherry.rpc import messages

_EVENT = instance_actions.EventName.FINISH_RESIZE


class Finish:
    """From the first command on the guest may run there: the source takes it up again only when the destination was read as without it."""

    name = operation.StepName.FINISH

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state begins the undo; before the command it is written down that there will be one."""
        given_up = ends.aborted(on)
        if given_up is not None or on.plan.is_destination_commanded:
            return given_up
        return drive.Advance(
            transition=operation.Transition(
                plan=ends.with_plan(on, is_destination_commanded=True),
                server=server.ServerChange(task_state=server.TaskState.RESIZE_FINISH),
            )
        )

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask. Silence is waited for, since the guest may run there by now."""
        try:
            answer = await ends.ask(on, on.destination, messages.FinishResize(**on.moving))
        except ends.HostDead:
            return ends.undo(on, states.Event.ROLLED_BACK, ends.dead(on.destination))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if ends.is_passing(on, error):
                raise
            return ends.undo(on, states.Event.ROLLED_BACK, drive.reason_of(error))
        change = ends.placed(answer.guest, on.destination, on.migration.dest_node, on.plan.new_flavor)
        transition = operation.Transition(
            step=operation.StepName.DONE,
            event=states.Event.TAKEN_IN,
            clear_reason=True,
            server=ends.resized(change, answer.guest),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=answer.outcome),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """Have the destination remove the guest and what was made for it."""
        await ends.ask(on, on.destination, messages.DiscardArrival(**on.moving))
