# SPDX-License-Identifier: Apache-2.0
"""A server's live migrations: list, show, abort. An abort is recorded with its answer and delivered by the conductor."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api.handlers import finding
from wherry.api.views import server_migrations as view
from wherry.db import uow as wherry_uow
from wherry.model import instance_actions, operation, states
from wherry.model import migration as model
from wherry.model import server as server_model
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: What may be aborted, by the first version that allows it.
_ABORTABLE = frozenset({states.Status.RUNNING})
_ABORTABLE_FROM_2_65 = _ABORTABLE | {states.Status.QUEUED, states.Status.PREPARING}
_METHOD = "abort live migration"


async def list_server_migrations(call: api_call.Call) -> list[view.ShownMigration]:
    """Give the live migrations in progress."""

    async def unit(uow: wherry_uow.UnitOfWork) -> list[view.ShownMigration]:
        server = await finding.server_of(uow, call)
        found = await uow.migrations.in_progress_of(server.uuid)
        return [await _shown(uow, call, record) for record in found if record.status in states.SHOWN_IN_PROGRESS]

    return await call.parts.store.read(unit)


async def show_server_migration(call: api_call.Call) -> view.ShownMigration:
    """Give one live migration; below 2.1000 only while it is in progress, as in Nova."""

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownMigration:
        server = await finding.server_of(uow, call)
        named = call.arguments["migration_id"]
        try:
            record = await _find(uow, server, named)
        except errors.MigrationNotFound as error:
            raise errors.MigrationNotInProgress(migration_id=named, uuid=server.uuid) from error
        if record.status not in states.SHOWN_IN_PROGRESS and call.version < view.OWN_FIELDS_FROM:
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
        caller = call.caller
        await uow.operations.record_intent(record.uuid, operation.IntentKind.ABORT, request_id=caller.request_id, allowed=allowed)
        if server.task_state is not server_model.TaskState.MIGRATING:
            raise errors.InstanceInvalidState(method=_METHOD, uuid=server.uuid, attribute="task_state", state=str(server.task_state))
        await uow.actions.record(
            instance_uuid=server.uuid,
            request_id=caller.request_id,
            action=instance_actions.ActionName.LIVE_MIGRATION_CANCEL,
            user_id=caller.user_id,
            project_id=caller.project_id,
        )
        return record.uuid

    operation_id = await call.parts.store.run(unit)
    try:
        await call.parts.rpc.cast(addresses.conductor(), messages.IntentRecorded(operation_id=operation_id))
    except errors.Error as error:
        _log.warning("A conductor could not be nudged", action="api.nudge", migration_id=operation_id, slug=error.slug, error=error.message)


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
    host = await uow.hosts.get(record.source_compute)
    if not host.description.capabilities.abort:
        raise errors.Unsupported(what="Aborting a live migration under way", driver=host.description.driver)


async def _shown(uow: wherry_uow.UnitOfWork, call: api_call.Call, record: model.Migration) -> view.ShownMigration:
    request = None
    if call.version >= view.OWN_FIELDS_FROM and record.deadline is None:
        # Until the transfer starts, what was asked for is all that is known of its deadline.
        request = (await uow.operations.get(record.uuid)).request
    return view.ShownMigration(record=record, request=request)
