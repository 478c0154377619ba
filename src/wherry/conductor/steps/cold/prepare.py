# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination make the files into which disks will be sent."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.model import operation, states
from wherry.rpc import messages


class Prepare:
    """Whatever the answer is, the guest has not been touched."""

    name = operation.StepName.PREPARE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state begins the undo."""
        return ends.aborted(on)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask; where the guest stays on its host there is nothing to make."""
        if not on.plan.is_same_host:
            try:
                await ends.ask(on, on.destination, messages.PrepareArrival(**on.moving))
            except ends.HostDead:
                return ends.undo(on, states.Event.ROLLED_BACK, ends.dead(on.destination))
            except ends.NOT_OURS:
                raise
            except errors.Error as error:
                if error.retryable and on.attempts < on.config.conductor.step_retry_limit:
                    raise
                return ends.undo(on, states.Event.ROLLED_BACK, drive.reason_of(error))
        is_orderly = on.plan.was_running and on.config.conductor.shutdown_timeout_seconds > 0
        step = operation.StepName.SHUT_DOWN if is_orderly else operation.StepName.MOVE
        return drive.Advance(transition=operation.Transition(step=step))

    async def undo(self, on: drive.Drive) -> None:
        """Have the destination remove what it made."""
        await ends.forget_destination(on)
