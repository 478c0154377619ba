# SPDX-License-Identifier: Apache-2.0
"""What becomes of aborts, force-completes and deletions that were asked of an operation once it has ended. Carries none of them out."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import drive
from wherry.db import deletion
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import instance_actions, migration, operation, states
from wherry.rpc import messages

#: The outcome that each kind of intent asks for, and what it is called.
_SERVED_BY = {
    operation.IntentKind.ABORT: (states.Event.ABORTED, "abort"),
    operation.IntentKind.FORCE_COMPLETE: (states.Event.ARRIVED, "force-complete"),
    operation.IntentKind.RESUME_POST_COPY: (states.Event.ARRIVED, "resumption"),
    operation.IntentKind.GIVE_UP: (states.Event.FOUND_INCONSISTENT, "giving up"),
}


async def answer(
    uow: uows.UnitOfWork, of: operation.Operation, record: migration.Migration | None, by: states.Event | None = None
) -> str | None:
    """Close what was asked of an operation that has ended: served, or overtaken by the outcome.

    Give the id of the deletion that begins now because it was asked for meanwhile; None when it was not.
    :param by: what its end was, where that is known.
    """
    following = None
    for intent in await uow.operations.pending_intents(of.id):
        if not await uow.operations.acknowledge_intent(intent):
            continue
        if intent.kind is operation.IntentKind.DELETE:
            following = following or await _begin_deletion(uow, of.instance_uuid, intent.request_id)
            continue
        if of.kind is not operation.OperationKind.LIVE_MIGRATION or record is None:
            # A reset of the server's state, which has no stage of its own.
            continue
        name, where = drive.INTENT_EVENTS[intent.kind], (of.instance_uuid, intent.request_id)
        is_served = by is _SERVED_BY[intent.kind][0]
        outcome = instance_actions.SUCCEEDED if is_served else await _not_served(uow, of, record, intent)
        await uow.actions.start_event(*where, instance_actions.EventStart(name=name, host=of.plan.source))
        await uow.actions.finish_event(*where, instance_actions.EventFinish(name=name, host=of.plan.source, outcome=outcome))
    return following


def late(operation_id: str) -> stores.Unit[str | None]:
    """Give the unit that answers what a conductor of an earlier release, which did not know what was asked, left at the end."""

    async def unit(uow: uows.UnitOfWork) -> str | None:
        of = await uow.operations.get(operation_id)
        record = None if of.migration_uuid is None else await uow.migrations.get_by_uuid(of.migration_uuid)
        return await answer(uow, of, record)

    return unit


async def _begin_deletion(uow: uows.UnitOfWork, instance_uuid: str, request_id: str) -> str | None:
    """Begin what waited for the end of another operation. Its action was recorded when it was asked for."""
    try:
        freed = await uow.servers.get(instance_uuid)
    except errors.ServerNotFound:
        return None
    asked = await uow.actions.get(instance_uuid, request_id)
    return (await deletion.begin(uow, freed, request_id=request_id, user_id=asked.user_id, project_id=asked.project_id)).id


async def _not_served(
    uow: uows.UnitOfWork, of: operation.Operation, ended: migration.Migration, intent: operation.Intent
) -> instance_actions.EventOutcome:
    """Say why the outcome is not what was asked for: it came too late, or was done and then overruled."""
    reports = [one for one in await uow.reports.list(of.id) if one.kind is operation.ReportKind.ACTION_TAKEN]
    taken = [messages.ActionTaken.model_validate(one.body) for one in reports]
    applied = next((one for one in taken if one.is_done and one.request_id == intent.request_id), None)
    details = f"The migration was {ended.status.value} before the {_SERVED_BY[intent.kind][1]}."
    if applied is not None:
        told = "; then ".join(drive.headline(one.detail) for one in (applied, *taken[taken.index(applied) + 1 :]) if one.is_done)
        details = f"It was applied, and the migration ended as {ended.status.value}: {told}."
    return instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=details)
