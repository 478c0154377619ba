# SPDX-License-Identifier: Apache-2.0
"""Step: the guest arrived; make it the destination's own and clear the source."""

from __future__ import annotations

import asyncio

from wherry import errors
from wherry.conductor import chores, drive
from wherry.model import guest, instance_actions, migration, operation, server, states
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_EVENT = instance_actions.EventName.FINISH


class Finish:
    """Runs after the guest was read at the destination, so nothing here can make it be elsewhere."""

    name = operation.StepName.FINISH

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the guest has arrived."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Finish at both ends at once; what a silent host is owed becomes a chore."""
        arrived, _ = await asyncio.gather(self._at_destination(on), self._at_source(on))
        outcome, state, reason = arrived
        transition = operation.Transition(
            step=operation.StepName.DONE,
            event=states.Event.ARRIVED,
            reason=reason,
            clear_reason=reason is None,
            server=server.ServerChange(
                host=on.destination,
                node=on.migration.dest_node,
                clear_task=True,
                progress=0,
                **drive.states_of(state),
            ),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.destination, outcome=outcome),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """There is no way back from here."""

    async def _at_destination(
        self, on: drive.Drive
    ) -> tuple[instance_actions.EventOutcome, guest.GuestState | None, migration.Reason | None]:
        try:
            answer = await on.ask(on.destination, messages.FinishDestination(**on.planned))
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if on.attempts < on.config.conductor.step_retry_limit:
                raise
            # The guest runs there all the same; what could not be put in order is said, not hidden.
            _log.error(
                "The destination could not finish.", migration_id=on.operation.id, host=on.destination, slug=error.slug, error=error.message
            )
            await chores.owe(on, on.destination, messages.FinishDestination(**on.planned), error)
            return instance_events.outcome_of(error), None, drive.reason_of(error)
        return answer.outcome, answer.guest.state, None

    async def _at_source(self, on: drive.Drive) -> None:
        try:
            await on.ask(on.plan.source, messages.FinishSource(**on.planned))
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if on.attempts < on.config.conductor.step_retry_limit:
                raise
            await chores.owe(on, on.plan.source, messages.FinishSource(**on.planned), error)
