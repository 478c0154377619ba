# SPDX-License-Identifier: Apache-2.0
"""Step: have the source give up what it kept, now that the guest was read at its destination."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps.cold import ends
from wherry.model import guest, instance_actions, operation, server, states
from wherry.rpc import instance_events, messages

_EVENT = instance_actions.EventName.CONFIRM_RESIZE


class Confirm:
    """Nothing is given up at the source unless the destination says that it has the guest; a silent source is owed it."""

    name = operation.StepName.CONFIRM

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: a part of it may be done."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Look at the destination, then clear the source."""
        try:
            seen = (await ends.ask(on, on.destination, messages.DescribeGuest(**on.ids))).guest
            outcome = instance_actions.SUCCEEDED if on.plan.is_same_host else await self._at_source(on)
        except ends.HostDead:
            error = errors.DestinationDown(host=on.destination)
            return ends.refused(on, _EVENT, on.plan.source, instance_events.outcome_of(error))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if ends.is_passing(on, error):
                raise
            return ends.refused(on, _EVENT, on.plan.source, instance_events.outcome_of(error))
        await self._at_destination(on)
        return self._confirmed(on, seen, outcome)

    async def undo(self, on: drive.Drive) -> None:
        """What was given up cannot be had back."""

    def _confirmed(self, on: drive.Drive, seen: guest.Guest, outcome: instance_actions.EventOutcome) -> drive.Advance:
        transition = operation.Transition(
            step=operation.StepName.DONE,
            event=states.Event.CONFIRMED,
            server=server.ServerChange(clear_task=True, progress=0, **drive.states_of(seen.state)),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.plan.source, outcome=outcome),),
        )
        return drive.Advance(transition=transition)

    async def _at_source(self, on: drive.Drive) -> instance_actions.EventOutcome:
        command = messages.ConfirmSource(**on.moving)
        try:
            return (await ends.ask(on, on.plan.source, command)).outcome
        except ends.HostDead:
            await chores.owe(on, on.plan.source, command, errors.SourceDown(host=on.plan.source))
        except ends.SILENT as error:
            if on.attempts < on.config.conductor.step_retry_limit:
                raise
            await chores.owe(on, on.plan.source, command, error)
        return instance_actions.EventOutcome(
            result=instance_actions.Result.SUCCESS, details=f"{on.plan.source} does not answer and clears up at its return."
        )

    async def _at_destination(self, on: drive.Drive) -> None:
        command = messages.ConfirmDestination(**on.moving)
        try:
            await ends.ask(on, on.destination, command)
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except ends.HostDead:
            return
        except errors.Error as error:
            if on.attempts < on.config.conductor.step_retry_limit:
                raise
            await chores.owe(on, on.destination, command, error)
