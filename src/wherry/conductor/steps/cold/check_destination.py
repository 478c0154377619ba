# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination's hypervisor say whether the guest could be started there."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import check_destination as live
from wherry.conductor.steps.cold import ends
from wherry.model import instance_actions, operation
from wherry.rpc import messages


class CheckDestination:
    """Asks the destination's agent. A destination that says no is skipped and another is chosen."""

    name = operation.StepName.CHECK_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state ends it here; an earlier try may have left its probes."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        await ends.forget_destination(on)
        return drive.Advance(transition=drive.aborted_untouched())

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, and take the facts that the source's check needs."""
        source = await on.store.read(lambda uow: uow.hosts.get(on.plan.source))
        # It is started anew there: neither the CPU nor the hypervisor that it runs on now has to be matched.
        described = dataclasses.replace(source.description, cpu="", hypervisor_version=0)
        try:
            answer = await on.ask(on.destination, messages.PrepResize(**on.moving, source=described))
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if isinstance(error, errors.StaleEpoch):
                await on.require_own(error)
            skipped = live.refused(on, live.as_refusal(on, error), instance_actions.EventName.PREP_RESIZE, on.destination)
            return dataclasses.replace(skipped, owed=ends.letting_go(on)) if live.may_have_begun(on, error) else skipped
        return drive.Advance(
            transition=operation.Transition(step=operation.StepName.CHECK_SOURCE, plan=ends.with_plan(on, facts=answer.facts))
        )

    async def undo(self, on: drive.Drive) -> None:
        """Remove the storage probes."""
        await ends.forget_destination(on)
