# SPDX-License-Identifier: Apache-2.0
"""A server's live migrations: list, show, abort, force to complete. What is asked for is recorded; the conductor delivers it."""

from __future__ import annotations

import datetime

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding, readiness, recording
from wherry.api.views import server_migrations as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import admission
from wherry.model import host as host_model
from wherry.model import instance_actions, operation, progress, states
from wherry.model import migration as model
from wherry.model import server as server_model
from wherry.rpc import messages

#: What may be aborted, by the first version that allows it.
_ABORTABLE = frozenset({states.Status.RUNNING})
_ABORTABLE_FROM_2_65 = _ABORTABLE | {states.Status.QUEUED, states.Status.PREPARING}
_METHOD = "abort live migration"
_FORCIBLE = frozenset({states.Status.RUNNING})
#: Reason of a migration whose post-copy has lost its connection.
_BROKEN = "post_copy_broken"


async def list_server_migrations(call: api_call.Call) -> list[view.ShownMigration]:
    """Give the live migrations in progress."""

    async def unit(uow: wherry_uow.UnitOfWork) -> list[view.ShownMigration]:
        server = await finding.server_of(uow, call)
        found = await uow.migrations.in_progress_of(server.uuid)
        return [await _shown(uow, call, record) for record in found if record.status in states.SHOWN_IN_PROGRESS]

    return await call.parts.store.read(unit)


async def show_server_migration(call: api_call.Call) -> view.ShownMigration:
    """Give one migration; below 2.1000 only a live one, and that while it is in progress, as in Nova."""
    shows_all = call.version >= view.OWN_FIELDS_FROM

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownMigration:
        server = await finding.server_of(uow, call)
        named = call.arguments["migration_id"]
        try:
            record = await _find(uow, server, named)
        except errors.MigrationNotFound as error:
            if shows_all:
                raise
            raise errors.MigrationNotInProgress(migration_id=named, uuid=server.uuid) from error
        if shows_all:
            return await _shown(uow, call, record)
        if record.migration_type is not model.MigrationType.LIVE_MIGRATION:
            raise errors.MigrationNotLive(migration_id=named, uuid=server.uuid)
        if record.status not in states.SHOWN_IN_PROGRESS:
            raise errors.MigrationEnded(migration_id=named, uuid=server.uuid)
        return await _shown(uow, call, record)

    return await call.parts.store.read(unit)


async def abort_live_migration(call: api_call.Call) -> None:
    """Record that a live migration shall be aborted; the conductor delivers it until it is acknowledged."""
    allowed = _ABORTABLE_FROM_2_65 if call.version >= (2, 65) else _ABORTABLE

    async def unit(uow: wherry_uow.UnitOfWork) -> str:
        server = await finding.server_of(uow, call)
        if server.locked_by is not None and not call.caller.is_admin:
            raise errors.InstanceLocked(uuid=server.uuid)
        record = await _find(uow, server, call.arguments["migration_id"])
        if record.status is states.Status.RUNNING:
            await _check_ability(uow, record)
        await uow.operations.record_intent(record.uuid, operation.IntentKind.ABORT, request_id=call.caller.request_id, allowed=allowed)
        if server.task_state is not server_model.TaskState.MIGRATING:
            raise errors.NotMigrating(method=_METHOD, uuid=server.uuid, what=_reset_during(record))
        await recording.note_action(uow, call, server.uuid, instance_actions.ActionName.LIVE_MIGRATION_CANCEL)
        return record.uuid

    await recording.nudge(call, messages.IntentRecorded(operation_id=await call.parts.store.run(unit)))


async def force_complete(call: api_call.Call) -> None:
    """Record that a live migration shall complete at any price: by post-copy where the job allows it, otherwise with the guest paused."""

    async def unit(uow: wherry_uow.UnitOfWork) -> str:
        server = await finding.server_of(uow, call)
        await _check_forcible(uow, call, server)
        try:
            record = await _find(uow, server, call.arguments["migration_id"])
        except errors.MigrationNotFound as error:
            # Nova's code for it, although an abort of the same migration is a 404.
            raise faults.bad_request(error.message) from error
        await uow.operations.record_intent(
            record.uuid, operation.IntentKind.FORCE_COMPLETE, request_id=call.caller.request_id, allowed=_FORCIBLE
        )
        source = await _source_of(uow, record)
        if not (source.capabilities.force_complete_by_post_copy or source.capabilities.force_complete_by_pause):
            raise errors.Unsupported(what="Forcing a live migration to complete", driver=source.driver)
        await recording.note_action(uow, call, server.uuid, instance_actions.ActionName.LIVE_MIGRATION_FORCE_COMPLETE)
        return record.uuid

    await recording.nudge(call, messages.IntentRecorded(operation_id=await call.parts.store.run(unit)))


async def resume_post_copy(call: api_call.Call) -> None:
    """Record that a broken post-copy shall be resumed at once; its source tries that again and again anyway."""
    await _record_for_broken(call, operation.IntentKind.RESUME_POST_COPY, instance_actions.ActionName.LIVE_MIGRATION_RESUME_POST_COPY)


async def give_up(call: api_call.Call) -> None:
    """Record that a broken post-copy shall be resumed no more: it ends in error, and both hosts keep their part of the guest."""
    await _record_for_broken(call, operation.IntentKind.GIVE_UP, instance_actions.ActionName.LIVE_MIGRATION_GIVE_UP)


async def _record_for_broken(call: api_call.Call, kind: operation.IntentKind, action: instance_actions.ActionName) -> None:
    async def unit(uow: wherry_uow.UnitOfWork) -> str:
        server = await finding.server_of(uow, call)
        record = await _find(uow, server, call.arguments["migration_id"])
        if record.reason is None or record.reason.slug != _BROKEN or record.status in states.TERMINAL:
            raise errors.PostCopyNotBroken(migration_id=record.id, uuid=server.uuid, state=record.status.value)
        await uow.operations.record_intent(record.uuid, kind, request_id=call.caller.request_id)
        await recording.note_action(uow, call, server.uuid, action)
        return record.uuid

    await recording.nudge(call, messages.IntentRecorded(operation_id=await call.parts.store.run(unit)))


async def _check_forcible(uow: wherry_uow.UnitOfWork, call: api_call.Call, server: server_model.Server) -> None:
    """In Nova's order. A paused guest has nothing to be forced: it sends without writing."""
    if server.locked_by is not None and not call.caller.is_admin:
        raise errors.InstanceLocked(uuid=server.uuid)
    method = "force_complete"
    if server.vm_state is not server_model.VmState.ACTIVE:
        raise readiness.wrong_vm_state(server, method, (server_model.VmState.ACTIVE,))
    if server.task_state is server_model.TaskState.MIGRATING:
        return
    try:
        record = await _find(uow, server, call.arguments["migration_id"])
    except errors.MigrationNotFound:
        what = "it is not being migrated"
    else:
        what = f"its migration {record.id} is {record.status.value}" if record.status in states.TERMINAL else _reset_during(record)
    raise errors.NotMigrating(method=method, uuid=server.uuid, what=what)


def _reset_during(record: model.Migration) -> str:
    return f"its state was reset, which aborts its migration {record.id}"


async def _find(uow: wherry_uow.UnitOfWork, server: server_model.Server, named: str) -> model.Migration:
    """Find a server's migration by its number, or by its uuid, which clients send too although Nova wants the number."""
    if named.isascii() and named.isdigit() and len(named) < 10:
        return await uow.migrations.get(server.uuid, int(named))
    not_found = errors.MigrationNotFound(migration_id=named, uuid=server.uuid)
    if not finding.is_uuid(named):
        raise not_found
    try:
        record = await uow.migrations.get_by_uuid(named.lower())
    except errors.NotFound as error:
        raise not_found from error
    if record.instance_uuid != server.uuid:
        raise not_found
    return record


async def _check_ability(uow: wherry_uow.UnitOfWork, record: model.Migration) -> None:
    """Refuse what the source's driver cannot do; before the transfer nothing of it is needed."""
    source = await _source_of(uow, record)
    if not source.capabilities.abort:
        raise errors.Unsupported(what="Aborting a live migration under way", driver=source.driver)


async def _source_of(uow: wherry_uow.UnitOfWork, record: model.Migration) -> host_model.HostDescription:
    return (await uow.hosts.get(record.source_compute)).description


async def _shown(uow: wherry_uow.UnitOfWork, call: api_call.Call, record: model.Migration) -> view.ShownMigration:
    request = None
    if call.version >= view.OWN_FIELDS_FROM and record.deadline is None:
        # Until the transfer starts, what was asked for is all that is known of its deadline.
        request = (await uow.operations.get(record.uuid)).request
    return view.ShownMigration(
        record=record,
        queued=await _queued(uow, call, record),
        request=request if isinstance(request, model.LiveMigrationRequest) else None,
        time_left=_time_left(record, call.parts.clock.now()),
    )


async def _queued(uow: wherry_uow.UnitOfWork, call: api_call.Call, record: model.Migration) -> view.Queued | None:
    if call.version < view.OWN_FIELDS_FROM or record.status is not states.Status.QUEUED:
        return None
    options = call.parts.config.default
    limits = admission.SlotLimits(
        outgoing=options.max_concurrent_live_migrations,
        incoming=options.max_concurrent_incoming_live_migrations,
        cluster=options.max_concurrent_live_migrations_cluster,
    )
    for one in await uow.slots.queue(limits):
        if one.operation_id == record.uuid:
            return view.Queued(position=one.position, waits_for=one.waits_for)
    return None


def _time_left(record: model.Migration, now: datetime.datetime) -> progress.TimeLeft | None:
    if record.progress is None or record.status not in states.SHOWN_IN_PROGRESS:
        return None
    has_deadline = record.deadline is not None and record.deadline.is_set and record.deadline_at is not None
    ends_in = (record.deadline_at - now).total_seconds() if has_deadline and record.deadline_at is not None else None
    return progress.time_left(record.progress, is_post_copy=record.status is states.Status.POST_COPY, deadline_seconds=ends_in)
