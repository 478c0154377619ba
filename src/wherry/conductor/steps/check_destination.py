# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination's hypervisor say whether it could take the guest."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps import select_destination
from wherry.model import instance_actions, migration, operation
from wherry.rpc import instance_events, messages

#: What an agent says of a check that came to no answer.
_UNCLEAR = (errors.CheckTimeout, errors.CheckCrashed)


class CheckDestination:
    """Asks the destination's agent. A destination that says no is skipped and another is chosen."""

    name = operation.StepName.CHECK_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort ends it here; an earlier try may have left its probes."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        await let_go(on)
        return drive.Advance(transition=drive.aborted_untouched())

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, and take the facts that the source's check needs."""
        source = await select_destination.source_of(on)
        generation = on.operation.generation
        command = messages.CheckDestination(**on.ids, guest=on.guest, request=on.request, source=source, generation=generation)
        try:
            answer = await on.ask(on.destination, command)
        except errors.LeaseLost:
            raise
        except errors.Error as error:
            if _may_pass(on, error):
                raise
            if isinstance(error, errors.StaleEpoch):
                # Another owner's by now; or ended there, by another migration of the guest.
                await on.require_own(error)
            skipped = refused(on, as_refusal(on, error), instance_actions.EventName.CHECK_DESTINATION, on.destination)
            return dataclasses.replace(skipped, owed=(letting_go(on),)) if may_have_begun(on, error) else skipped
        on.has_released = False
        transition = operation.Transition(
            step=operation.StepName.CHECK_SOURCE,
            plan=dataclasses.replace(on.plan, facts=answer.facts),
            finished=(_finish(instance_actions.EventName.CHECK_DESTINATION, on.destination, answer.outcome),),
            started=(instance_actions.EventStart(name=instance_actions.EventName.CHECK_SOURCE, host=on.plan.source),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """Remove the storage probes."""
        facts = on.plan.facts
        if facts is not None and facts.probes:
            # The steps in between have raised the generation, and others will before this host is checked again.
            await on.ask(facts.host, messages.ReleaseCheck(**on.ids, probes=facts.probes, generation=on.operation.generation))


def _may_pass(on: drive.Drive, error: errors.Error) -> bool:
    """Whether to ask again after a pause: the one destination that was asked for lacks its hypervisor, maybe since its agent just began."""
    is_named = on.request.host is not None
    return is_named and isinstance(error, errors.HypervisorUnavailable) and on.attempts < on.config.conductor.step_retry_limit


def letting_go(on: drive.Drive) -> drive.Owed:
    """Have a destination that this migration will not go to forget it, probes and all, once that is stored.

    Told before, and then asked again by the same step, it could say yes, and forget what it had just checked.
    """
    return drive.Owed(host=on.destination, command=messages.RollBackDestination(**on.planned))


async def let_go(on: drive.Drive) -> None:
    """Have it forget the migration at once: nobody will check it again, whatever is stored next. A silent one is owed it."""
    owed = letting_go(on)
    await chores.ask_or_owe(on, owed.host, owed.command)


def refused(on: drive.Drive, error: errors.Error, event: instance_actions.EventName, asked: str) -> drive.Advance:
    """Skip this destination, for the reason given, and choose another; or end the migration, where no other would change the answer."""
    if isinstance(error, errors.SourceCheckFailed):
        return drive.refused(error)
    return _skipped(on, error, (_finish(event, asked, instance_events.outcome_of(error)),))


def given_up(on: drive.Drive, error: errors.Error) -> drive.Advance:
    """Skip a destination that passed its checks and has gone away since, and choose another."""
    return _skipped(on, as_refusal(on, error), ())


def plan_without(on: drive.Drive, error: errors.Error) -> migration.DrivenPlan:
    """Give the plan with which another destination is chosen than this one, for the reason given."""
    said_no = migration.RefusedHost(host=on.destination, slug=error.slug, message=error.message, fields=error.fields)
    return dataclasses.replace(on.plan, facts=None, storage=None, checked_at=None, refused=(*on.plan.refused, said_no))


def _skipped(on: drive.Drive, error: errors.Error, finished: tuple[instance_actions.EventFinish, ...]) -> drive.Advance:
    step = operation.StepName.SELECT_DESTINATION
    return drive.Advance(transition=operation.Transition(step=step, plan=plan_without(on, error), finished=finished))


def may_have_begun(on: drive.Drive, error: errors.Error) -> bool:
    """Whether this check, or an earlier one, ours or an earlier owner's, may have come as far as its probes, and left them there."""
    if not on.is_step_new:
        return True
    if isinstance(error, errors.HostUnreachable):
        # Nobody heard the question.
        return on.plan.facts is not None
    return not isinstance(error, errors.CheckFailed) or isinstance(error, _UNCLEAR)


def as_refusal(on: drive.Drive, error: errors.Error) -> errors.Error:
    """Say in the checks' words that the destination gave no answer; nothing has been touched, so another may be tried."""
    if isinstance(error, errors.CheckFailed | errors.HypervisorUnavailable | errors.JournalUnwritable):
        return error
    if isinstance(error, errors.Timeout):
        return errors.CheckTimeout(host=on.destination)
    if isinstance(error, errors.HostUnreachable):
        return errors.DestinationDown(host=on.destination)
    return errors.CheckCrashed(host=on.destination, detail=error.message)


def _finish(name: instance_actions.EventName, host: str, outcome: instance_actions.EventOutcome) -> instance_actions.EventFinish:
    return instance_actions.EventFinish(name=name, host=host, outcome=outcome)
