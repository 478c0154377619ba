# SPDX-License-Identifier: Apache-2.0
"""How the deletion of a server begins, whoever finds that it can: at once, or by giving up what a resize has kept of it elsewhere."""

from __future__ import annotations

from wherry.db import uow as uows
from wherry.db.repositories import migrations
from wherry.model import build, migration, operation, server, states


async def begin(uow: uows.UnitOfWork, of: server.Server, *, request_id: str, user_id: str, project_id: str) -> operation.Operation:
    """Record the operation that deletes a server which no other one holds; its action is recorded already.

    A cold migration or resize that waits is confirmed first, as in Nova: its source would else keep what nobody deletes any more.
    :raises StaleWrite: the server was changed since, or has an operation.
    """
    asked = {"request_id": request_id, "user_id": user_id, "project_id": project_id}
    waiting = migrations.MigrationQuery(instance_uuid=of.uuid, statuses=[states.Status.FINISHED])
    moved = next((one for one in await uow.migrations.list(waiting) if one.dest_compute == of.host), None)
    if moved is None:
        begun, _ = await uow.operations.begin(of, build.DeleteRequest(), **asked)
        return begun
    before = await uow.operations.last_of_migration(moved.uuid)
    confirming = await uow.operations.begin_after(before, of, migration.ConfirmRequest(migration_id=moved.uuid), **asked)
    await uow.operations.record_intent(confirming.id, operation.IntentKind.DELETE, request_id=request_id)
    return confirming
