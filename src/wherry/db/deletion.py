# SPDX-License-Identifier: Apache-2.0
"""How the deletion of a server begins, whoever finds that it can; one whose last move waits takes both hosts' parts of it."""

from __future__ import annotations

from wherry.db import uow as uows
from wherry.db.repositories import migrations
from wherry.model import build, operation, server, states


async def begin(uow: uows.UnitOfWork, of: server.Server, *, request_id: str, user_id: str, project_id: str) -> operation.Operation:
    """Record the operation that deletes a server which no other one holds; its action is recorded already.

    A cold migration or resize that waits ends as confirmed, as in Nova. The deletion itself goes on with it: a confirmation may be refused.
    :raises StaleWrite: the server was changed since, or has an operation.
    """
    asked = {"request_id": request_id, "user_id": user_id, "project_id": project_id}
    waiting = migrations.MigrationQuery(instance_uuid=of.uuid, statuses=[states.Status.FINISHED])
    # Wherever the server is by now: both ends may have a part of it.
    moved = next(iter(await uow.migrations.list(waiting)), None)
    if moved is None:
        begun, _ = await uow.operations.begin(of, build.DeleteRequest(), **asked)
        return begun
    before = await uow.operations.last_of_migration(moved.uuid)
    return await uow.operations.begin_after(before, of, build.DeleteRequest(migration_id=moved.uuid), **asked)
