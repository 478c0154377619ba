# SPDX-License-Identifier: Apache-2.0
"""Step: undo what was done of a cold migration or resize, the destination first, and end as was decided before."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, migration, operation, server
from wherry.rpc import instance_events, messages

_EVENT = instance_actions.EventName.ROLL_BACK_RESIZE
#: How many times as often as other steps it is tried to have the source start its guest.
_MOST_TRIES = 4


class RollBack:
    """A destination that may run the guest must answer before the source starts it, unless an operator calls it dead."""

    name = operation.StepName.ROLL_BACK

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the end is decided."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Remove what the destination has, then have the source as it was."""
        ending = on.ending
        going_down = await _wait_for_shutdown(on)
        if going_down is not None:
            return going_down
        outcome = instance_actions.SUCCEEDED if on.plan.is_same_host else await self._at_destination(on)
        change = server.ServerChange(clear_task=True, progress=0)
        try:
            kept = (await ends.ask(on, on.plan.source, messages.RestoreSource(**on.moving))).guest
            change = server.ServerChange(clear_task=True, progress=0, **drive.states_of(kept.state))
        except ends.HostDead:
            await chores.owe(on, on.plan.source, messages.RestoreSource(**on.moving), errors.SourceDown(host=on.plan.source))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            # A guest that ran is off until this succeeds: it is tried for longer than others wait.
            if ends.is_passing(on, error) or on.attempts < _MOST_TRIES * on.config.conductor.step_retry_limit:
                raise
            # Its disks are there all the same; why it does not start is said, not hidden.
            outcome = instance_events.outcome_of(error)
            reason = migration.Reason(slug=ending.reason.slug, message=f"{ending.reason.message} Undone, but: {error.message}")
            off = server.ServerChange(
                clear_task=True, progress=0, vm_state=server.VmState.ERROR, power_state=server.PowerState.SHUTDOWN, reason=error.slug
            )
            return self._ended(on, reason, off, outcome)
        return self._ended(on, ending.reason, change, outcome)

    async def undo(self, on: drive.Drive) -> None:
        """An undo is not undone."""

    def _ended(
        self, on: drive.Drive, reason: migration.Reason, change: server.ServerChange, outcome: instance_actions.EventOutcome
    ) -> drive.Advance:
        transition = operation.Transition(
            step=operation.StepName.DONE,
            event=on.ending.event,
            reason=reason,
            server=change,
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.plan.source, outcome=outcome),),
            closing=instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=reason.message),
        )
        return drive.Advance(transition=transition)

    async def _at_destination(self, on: drive.Drive) -> instance_actions.EventOutcome:
        command = messages.DiscardArrival(**on.moving)
        try:
            await ends.ask(on, on.destination, command)
        except ends.HostDead:
            await chores.owe(on, on.destination, command, errors.DestinationDown(host=on.destination))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if on.attempts < on.config.conductor.step_retry_limit or not await _is_off(on):
                raise
            await chores.owe(on, on.destination, command, error)
            return instance_events.outcome_of(error)
        return instance_actions.SUCCEEDED


async def _wait_for_shutdown(on: drive.Drive) -> drive.Wait | None:
    """Give the pause for a guest that was asked to shut down and still runs: started now, it would go off afterwards. None = go on.

    One that has not gone by the end of its time is taken for one that does not heed it, and runs on.
    """
    until = on.plan.power_off_at
    left = (until - on.clock.now()).total_seconds() if until is not None and on.plan.was_running else 0.0
    if left <= 0:
        return None
    try:
        seen = await ends.ask(on, on.plan.source, messages.ObserveGuest(**on.ids))
    except ends.HostDead:
        return None
    if seen.observation.state in ends.OFF:
        return None
    return drive.Wait(seconds=min(left, on.config.conductor.shutdown_poll_interval_seconds), why="the guest shuts itself down")


async def _is_off(on: drive.Drive) -> bool:
    """Whether the destination cannot be running the guest: it was never told to, or says that it does not."""
    if not on.plan.is_destination_commanded:
        return True
    return (await ends.ask(on, on.destination, messages.ObserveGuest(**on.ids))).observation.state in ends.OFF
