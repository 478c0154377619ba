# SPDX-License-Identifier: Apache-2.0
"""Confirm by itself what nobody confirmed or reverted in its time. Records the confirmation only, as a client would."""

from __future__ import annotations

import datetime
import uuid

from wherry import errors
from wherry.conductor import endpoints
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import migration, operation, server
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


async def confirm_due(surface: endpoints.Endpoints) -> None:
    """Look once. Several conductors may look at the same time: a server takes one operation."""
    window = surface.orchestrator.config.default.resize_confirm_window
    if not window or not surface.orchestrator.may_command:
        return
    before = surface.clock.now() - datetime.timedelta(seconds=window)
    for migration_id in await surface.store.read(lambda uow: uow.migrations.unconfirmed_since(before)):
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
