# SPDX-License-Identifier: Apache-2.0
"""Confirm by itself what nobody confirmed or reverted in its time. Records the confirmation only, as a client would.

One that is refused is tried again after a pause that doubles each time. A server whose state was reset is left to a person.
"""

from __future__ import annotations

import uuid

from wherry import errors
from wherry.conductor import endpoints
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import confirmation, migration, operation, server
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


async def confirm_due(surface: endpoints.Endpoints) -> None:
    """Look once. Several conductors may look at the same time: a server takes one operation."""
    config = surface.orchestrator.config
    window, most = config.default.resize_confirm_window, config.conductor.confirm_retry_max_seconds
    if not window or not surface.orchestrator.may_command:
        return
    for one in await surface.store.read(lambda uow: uow.migrations.unconfirmed()):
        due = confirmation.due_at(one.rested_at, one.refusals, window_seconds=window, most_seconds=most)
        if one.vm_state is not server.VmState.RESIZED or due is None or due > surface.clock.now():
            continue
        migration_id = one.uuid
        try:
            accepted = await surface.store.run(_confirmation_of(migration_id))
        except errors.StaleWrite:
            # Somebody was first.
            continue
        if accepted is not None:
            _log.info("A resize is confirmed, since its time is over.", migration_id=migration_id, instance_uuid=accepted.instance_uuid)
            surface.orchestrator.nudge(accepted.id)


def _confirmation_of(migration_id: str) -> stores.Unit[operation.Operation | None]:
    async def unit(uow: uows.UnitOfWork) -> operation.Operation | None:
        moved = await uow.operations.get(migration_id)
        found = await uow.servers.find([moved.instance_uuid])
        resized = found.get(moved.instance_uuid)
        if resized is None or resized.vm_state is not server.VmState.RESIZED or resized.task_state is not None:
            return None
        if await uow.operations.open_of_instance(resized.uuid) is not None:
            return None
        return await uow.operations.accept_after(
            await uow.operations.last_of_migration(migration_id),
            resized,
            migration.ConfirmRequest(migration_id=migration_id),
            request_id=f"req-{uuid.uuid4()}",
            user_id=moved.user_id,
            project_id=moved.project_id,
        )

    return unit
