# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination remove what was made for a guest that has gone back."""

from __future__ import annotations

from wherry.conductor import chores, drive
from wherry.model import operation, server, states
from wherry.rpc import messages


class Discard:
    """A destination that does not answer is owed it: the guest is at its source whatever comes of this."""

    name = operation.StepName.DISCARD

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: the guest has gone back."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, where the guest was moved at all."""
        if not on.plan.is_same_host:
            command = messages.DiscardArrival(**on.moving)
            await chores.ask_or_owe(on, on.destination, command, tries=on.config.conductor.step_retry_limit)
        transition = operation.Transition(
            step=operation.StepName.DONE, event=states.Event.REVERTED, server=server.ServerChange(clear_task=True, progress=0)
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """There is no way back from here."""
