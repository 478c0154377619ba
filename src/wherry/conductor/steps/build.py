# SPDX-License-Identifier: Apache-2.0
"""Step: have the chosen host make the guest and start it."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import change_power
from wherry.model import build, instance_actions, migration, operation, server
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_EVENT = instance_actions.EventName.BUILD


class Build:
    """One command, which finds its work done, or under way, when it comes again. A silent host is waited for: it may be building."""

    name = operation.StepName.BUILD

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Somebody wants the server deleted, or its state was reset: what was made so far is taken back."""
        if not on.wants(operation.IntentKind.ABORT):
            return None
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="Given up on request.")
        return _taking_back(on, outcome, on.plan)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Have it made; what the host shows afterwards is the server's state."""
        made = await on.store.read(lambda uow: uow.servers.get(on.operation.instance_uuid))
        try:
            answer = await change_power.tell(on, messages.BuildGuest(**on.ids, order=_order_of(on, made)), "build the guest")
        except change_power.NOT_OURS:
            raise
        except errors.Error as error:
            if error.retryable and (isinstance(error, change_power.SILENT) or on.attempts < on.config.conductor.step_retry_limit):
                raise
            return _refused(on, error)
        _log.info("A server was made.", instance_uuid=made.uuid, host=on.plan.source, request_id=on.operation.request_id)
        change = server.ServerChange(
            clear_task=True, clear_fault=True, is_launched=True, disks=answer.guest.disks, **drive.states_of(answer.guest.state)
        )
        return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, server=change, closing=answer.outcome))

    async def undo(self, on: drive.Drive) -> None:
        """The step TAKE_BACK does it: on the host, which may be silent for long."""


def _order_of(on: drive.Drive, made: server.Server) -> build.GuestOrder:
    request = on.build_request
    return build.GuestOrder(
        uuid=made.uuid,
        name=made.instance_name,
        title=made.name,
        memory_mib=made.memory_mib,
        vcpus=made.vcpus,
        root_gib=made.root_gib,
        image=request.image,
        project_id=made.project_id,
        user_id=made.user_id,
        has_network=request.has_network,
        metadata=made.metadata,
    )


def _refused(on: drive.Drive, error: errors.Error) -> drive.Advance:
    _log.warning("A host could not make a server.", instance_uuid=on.operation.instance_uuid, host=on.plan.source, slug=error.slug)
    refused = migration.RefusedHost(host=on.plan.source, slug=error.slug, message=error.message, fields=error.fields)
    plan = dataclasses.replace(on.plan, refused=(*on.plan.refused, refused))
    return _taking_back(on, instance_events.outcome_of(error), plan)


def _taking_back(on: drive.Drive, outcome: instance_actions.EventOutcome, plan: migration.DrivenPlan) -> drive.Advance:
    finish = instance_actions.EventFinish(name=_EVENT, host=on.plan.source, outcome=outcome)
    return drive.Advance(transition=operation.Transition(step=operation.StepName.TAKE_BACK, plan=plan, finished=(finish,)))
