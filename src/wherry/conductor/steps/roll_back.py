# SPDX-License-Identifier: Apache-2.0
"""Step: undo what was done, the last first, and end as was decided before."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps import prepare, transfer
from wherry.model import instance_actions, operation, server
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_EVENT = instance_actions.EventName.ROLL_BACK


class RollBack:
    """The source must answer, since its guest may have to be resumed, unless an operator calls it dead; a silent destination is owed."""

    name = operation.StepName.ROLL_BACK

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the end is decided."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Undo the transfer at the source, then the preparation at the destination."""
        ending = on.ending
        await self._at_source(on)
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

    async def _at_source(self, on: drive.Drive) -> None:
        try:
            await transfer.Transfer().undo(on)
        except (errors.Unavailable, errors.Timeout) as error:
            record = await on.store.read(lambda uow: uow.hosts.get(on.plan.source))
            if on.ending.is_source_commanded and not record.is_forced_down:
                raise
            await chores.owe(on, on.plan.source, messages.RollBackSource(**on.planned), error)

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
