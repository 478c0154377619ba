# SPDX-License-Identifier: Apache-2.0
"""Steps: ask the guest to shut itself down where it is, and give it its time, before it moves and before it goes back.

What the guest makes of it is not judged here: the step that follows powers off whatever is not off by then.
"""

from __future__ import annotations

import datetime

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.model import operation
from wherry.rpc import messages


class ShutDown:
    """At the source, before the guest moves. Asks again from time to time: some guests heed only the second call."""

    name = operation.StepName.SHUT_DOWN
    following = operation.StepName.MOVE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state begins the undo."""
        return ends.aborted(on)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Go on when the guest is off or its time is over. That begins just before it is first asked, whoever asks."""
        section, until = on.config.conductor, on.plan.power_off_at
        if until is None:
            # Stored before it is asked: an undo waits for a guest that may be on its way down.
            ends_at = on.clock.now() + datetime.timedelta(seconds=section.shutdown_timeout_seconds)
            return drive.Advance(transition=operation.Transition(plan=ends.with_plan(on, power_off_at=ends_at)))
        onward = drive.Advance(transition=operation.Transition(step=self.following))
        if on.clock.now() >= until:
            return onward
        is_due = not on.has_commanded or on.clock.monotonic() - on.heard_at >= section.shutdown_retry_interval_seconds
        command = messages.ShutDownGuest(**on.ids) if is_due else messages.ObserveGuest(**on.ids)
        try:
            seen = await ends.ask(on, self._host(on), command)
        except ends.HostDead:
            return onward
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if error.retryable:
                raise
            # It cannot be asked; whether it can be powered off is for the next step to find out.
            return onward
        if is_due:
            on.has_commanded, on.heard_at = True, on.clock.monotonic()
        if seen.observation.state in ends.OFF:
            return onward
        left = (until - on.clock.now()).total_seconds()
        return drive.Wait(seconds=min(left, section.shutdown_poll_interval_seconds), why="the guest shuts itself down")

    async def undo(self, on: drive.Drive) -> None:
        """The source starts a guest again that ran before, when it is told to undo."""

    def _host(self, on: drive.Drive) -> str:
        return on.plan.source


class ShutDownAtDestination(ShutDown):
    """At the destination, before the guest goes back: what it writes to disks that both hosts see is kept."""

    following = operation.StepName.STOP_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: a guest that was asked to shut down goes back."""
        return None

    def _host(self, on: drive.Drive) -> str:
        return on.destination
