# SPDX-License-Identifier: Apache-2.0
"""Step: have the source take its guest up again, as it was, and start it if it ran before."""

from __future__ import annotations

import contextlib

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends, stop_destination
from wherry.model import instance_actions, operation
from wherry.rpc import instance_events, messages

_EVENT = instance_actions.EventName.FINISH_REVERT_RESIZE


class Restore:
    """A source that says it cannot leaves the guest where it is: it is started there again, and waits on."""

    name = operation.StepName.RESTORE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the guest is off everywhere."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask the source; it alone is asked until it answers, since the guest may run there by now."""
        try:
            answer = await ends.ask(on, on.plan.source, messages.FinishRevertResize(**on.moving))
        except ends.HostDead:
            return await self._stay(on, errors.SourceDown(host=on.plan.source))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if ends.is_passing(on, error):
                raise
            return await self._stay(on, error)
        change = ends.placed(answer.guest, on.plan.source, on.migration.source_node, on.plan.old_flavor)
        transition = operation.Transition(
            step=operation.StepName.DISCARD,
            server=ends.with_states(change, drive.states_of(answer.guest.state)),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.plan.source, outcome=answer.outcome),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """Nothing comes after it that could fail."""

    async def _stay(self, on: drive.Drive, error: errors.Error) -> drive.Answer:
        """The source cannot have it: have the destination start it again.

        A source that started it and could not say so is dead by an operator's word, or has said that it did not start.
        """
        with contextlib.suppress(ends.HostDead):
            seen = (await ends.ask(on, on.plan.source, messages.ObserveGuest(**on.ids))).observation
            if seen.state not in ends.OFF:
                raise error
        with contextlib.suppress(ends.HostDead):
            await stop_destination.StopDestination().undo(on)
        return ends.refused(on, _EVENT, on.plan.source, instance_events.outcome_of(error))
