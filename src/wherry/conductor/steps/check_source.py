# SPDX-License-Identifier: Apache-2.0
"""Step: have the source's hypervisor say whether the guest may leave, and which of its disks travel."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import check_destination, select_destination
from wherry.model import abilities, instance_actions, operation, states
from wherry.rpc import messages


class CheckSource:
    """Asks the source's agent. Passing it means that the checks have passed: the migration is queued."""

    name = operation.StepName.CHECK_SOURCE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort ends it here, but for the probes."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        await check_destination.let_go(on)
        return drive.Advance(transition=drive.aborted_untouched())

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, and keep the storage plan."""
        command = messages.CheckSource(**on.ids, guest=on.guest, request=on.request, facts=on.facts)
        try:
            answer = await on.ask(on.plan.source, command)
        except (errors.LeaseLost, errors.StaleEpoch):
            # The source keeps no end of a migration that was only checked: this one is another conductor's.
            raise
        except errors.Error as error:
            is_answer = isinstance(error, errors.CheckFailed)
            if error.retryable and not is_answer and on.attempts < on.config.conductor.step_retry_limit:
                raise
            event = instance_actions.EventName.CHECK_SOURCE
            refused = check_destination.refused(on, error, event, on.plan.source) if is_answer else drive.refused(error)
            return dataclasses.replace(refused, owed=(check_destination.letting_go(on),))
        outcome = await _with_notes(on, answer.outcome)
        finished = instance_actions.EventFinish(name=instance_actions.EventName.CHECK_SOURCE, host=on.plan.source, outcome=outcome)
        is_first = on.migration.status is states.Status.ACCEPTED
        transition = operation.Transition(
            step=operation.StepName.ADMIT,
            # Checks that run again when a migration leaves the queue find it queued already.
            event=states.Event.CHECKS_PASSED if is_first else None,
            plan=dataclasses.replace(on.plan, storage=answer.storage, checked_at=on.clock.now()),
            finished=(finished,),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """The source's check changes nothing; the probes are the destination's check's."""


async def _with_notes(on: drive.Drive, outcome: instance_actions.EventOutcome) -> instance_actions.EventOutcome:
    """Add what the migration goes on without, because it is only configured and a driver cannot do it."""
    source = await select_destination.source_of(on)
    ends = abilities.Ends(source=source.capabilities, destination=on.facts.capabilities)
    ask = select_destination.ask_of(on.config, on.request, on.guest, source)
    notes = abilities.notes(ask, ends, source.driver)
    details = " ".join(part for part in (outcome.details, *notes) if part)
    return dataclasses.replace(outcome, details=details or None)
