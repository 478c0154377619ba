# SPDX-License-Identifier: Apache-2.0
"""Step: have the destination's hypervisor say whether it could take the guest."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.model import instance_actions, migration, operation
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class CheckDestination:
    """Asks the destination's agent. A destination that says no is skipped and another is chosen."""

    name = operation.StepName.CHECK_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort ends it here: nothing was touched."""
        return drive.Advance(transition=drive.aborted_untouched()) if on.wants(operation.IntentKind.ABORT) else None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, and take the facts that the source's check needs."""
        source = (await on.hosts_by_name())[on.plan.source]
        command = messages.CheckDestination(**on.ids, guest=on.guest, request=on.operation.request, source=source.description)
        try:
            answer = await on.ask(on.destination, command)
        except (errors.CheckFailed, errors.Unavailable, errors.Timeout) as error:
            return refused(on, _as_refusal(on, error), instance_actions.EventName.CHECK_DESTINATION, on.destination)
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
            await on.ask(facts.host, messages.ReleaseCheck(**on.ids, probes=facts.probes))


async def release(on: drive.Drive) -> None:
    """Remove the storage probes, if their host answers; an agent removes forgotten ones when it starts, so nothing is owed."""
    try:
        await CheckDestination().undo(on)
    except (errors.Unavailable, errors.Timeout) as error:
        _log.warning("The storage probes were not released.", migration_id=on.operation.id, host=on.destination, slug=error.slug)


def refused(on: drive.Drive, error: errors.Error, event: instance_actions.EventName, asked: str) -> drive.Advance:
    """Skip this destination, for the reason given, and choose another.

    :raises SourceCheckFailed: when no other destination would change the answer.
    """
    if isinstance(error, errors.SourceCheckFailed):
        raise error
    said_no = migration.RefusedHost(host=on.destination, slug=error.slug, message=error.message, fields=error.fields)
    transition = operation.Transition(
        step=operation.StepName.SELECT_DESTINATION,
        plan=dataclasses.replace(on.plan, facts=None, storage=None, refused=(*on.plan.refused, said_no)),
        finished=(_finish(event, asked, instance_events.outcome_of(error)),),
    )
    return drive.Advance(transition=transition)


def _as_refusal(on: drive.Drive, error: errors.Error) -> errors.Error:
    """Say in the checks' words that the destination did not answer; nothing has been touched, so another may be tried."""
    if isinstance(error, errors.Timeout):
        return errors.CheckTimeout(host=on.destination)
    if isinstance(error, errors.HostUnreachable):
        return errors.DestinationDown(host=on.destination)
    return error


def _finish(name: instance_actions.EventName, host: str, outcome: instance_actions.EventOutcome) -> instance_actions.EventFinish:
    return instance_actions.EventFinish(name=name, host=host, outcome=outcome)
