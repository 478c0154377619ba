# SPDX-License-Identifier: Apache-2.0
"""Step: ask the guest to shut itself down, and give it its time.

What the guest makes of it is not judged here: the step that follows powers off whatever is not off by then.
"""

from __future__ import annotations

import dataclasses
import datetime

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import change_power
from wherry.model import guest, operation, power
from wherry.rpc import messages

_ON = operation.Transition(step=operation.StepName.CHANGE_POWER)


class ShutDown:
    """Asks again from time to time: some guests heed only the second call."""

    name = operation.StepName.SHUT_DOWN

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state ends it here."""
        return change_power.given_up(on)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Go on when the guest is off or its time is over. That begins when it was first asked, whoever asked."""
        section = on.config.conductor
        if on.plan.power_off_at is not None and on.clock.now() >= on.plan.power_off_at:
            return drive.Advance(transition=_ON)
        is_due = on.plan.power_off_at is None or on.clock.monotonic() - on.heard_at >= section.shutdown_retry_interval_seconds
        command = messages.ShutDownGuest(**on.ids) if is_due else messages.ObserveGuest(**on.ids)
        try:
            seen = await change_power.tell(on, command)
        except change_power.NOT_OURS:
            raise
        except errors.Error as error:
            if error.retryable:
                raise
            # It cannot be asked; whether it can be powered off is for the next step to find out.
            return drive.Advance(transition=_ON)
        if is_due:
            on.heard_at = on.clock.monotonic()
        if seen.observation.state is guest.GuestState.SHUT_OFF:
            return drive.Advance(transition=_ON)
        if on.plan.power_off_at is None:
            ends_at = on.clock.now() + datetime.timedelta(seconds=time_of(on))
            return drive.Advance(transition=operation.Transition(plan=dataclasses.replace(on.plan, power_off_at=ends_at)))
        left = (on.plan.power_off_at - on.clock.now()).total_seconds()
        return drive.Wait(seconds=min(left, section.shutdown_poll_interval_seconds), why="the guest shuts itself down")

    async def undo(self, on: drive.Drive) -> None:
        """A guest that was asked to shut down is not asked to stay."""


def time_of(on: drive.Drive) -> float:
    """Give the seconds that a guest has before its power is taken; 0 takes it at once."""
    section = on.config.conductor
    return section.soft_reboot_timeout_seconds if on.power_action is power.PowerAction.REBOOT else section.shutdown_timeout_seconds
