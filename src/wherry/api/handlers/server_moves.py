# SPDX-License-Identifier: Apache-2.0
"""Server actions migrate, resize, confirmResize, revertResize: a server is moved while it is off, or made another size.

The first two are answered when a destination was found and checked; the others are recorded, and a conductor does them behind the answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import blocking, finding, readiness, recording
from wherry.db import uow as wherry_uow
from wherry.db.repositories import migrations as migration_rows
from wherry.model import flavor as flavor_model
from wherry.model import migration, operation, states
from wherry.model import server as server_model
from wherry.policies import server_actions as policies
from wherry.rpc import messages

_MOVABLE = (server_model.VmState.ACTIVE, server_model.VmState.STOPPED)
#: Makes the request of what is to become of a migration that waits for it.
_RequestOf = Callable[[migration.Migration], migration.ConfirmRequest | migration.RevertRequest]
_RESIZED = (server_model.VmState.RESIZED,)
#: Where a reset, or a conflict, has taken the state away and the source keeps its part all the same.
_STILL_TWO = (*_RESIZED, server_model.VmState.ACTIVE, server_model.VmState.STOPPED, server_model.VmState.ERROR)


async def migrate(call: api_call.Call) -> None:
    """Move a server to another host while it is off; wait until its destination has been checked."""
    asked = cast("dict[str, Any]", call.body) if isinstance(call.body, dict) and call.version >= (2, 56) else {}
    host = asked.get("host")

    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        server = await finding.server_of(uow, call)
        if host is not None:
            call.require(policies.MIGRATE_HOST, server.project_id)
        await readiness.require(uow, call, server, "migrate", _MOVABLE)
        await readiness.require_settled(uow, server, "migrate")
        if host is not None:
            await blocking.check_host_is_known(uow, host)
            if host == server.host:
                raise errors.DestinationIsSource(uuid=server.uuid, host=host)
        return await _accepted(uow, call, server, migration.ColdMigrationRequest(host=host))

    await blocking.wait_for_checks(call, await recording.record(call, unit))


async def resize(call: api_call.Call) -> None:
    """Make a server another size, on another host as a rule; wait until its destination has been checked."""
    asked = cast("dict[str, Any]", call.body)
    named, disk_config = str(asked["flavorRef"]), asked.get("OS-DCF:diskConfig")

    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        server = await finding.server_of(uow, call)
        await readiness.require(uow, call, server, "resize", _MOVABLE)
        await readiness.require_settled(uow, server, "resize")
        flavor = await _flavor_of(uow, call, named)
        if flavor.id == server.current_flavor.id:
            raise errors.FlavorUnchanged()
        if flavor.root_gib < server.root_gib:
            raise errors.DiskShrinks(uuid=server.uuid, present_gib=server.root_gib, wanted_gib=flavor.root_gib)
        if disk_config is not None and server.birth is not None:
            server = await uow.servers.update(server, birth=dataclasses.replace(server.birth, disk_config=disk_config))
        return await _accepted(uow, call, server, migration.ColdMigrationRequest(flavor=flavor))

    await blocking.wait_for_checks(call, await recording.record(call, unit))


async def confirm_resize(call: api_call.Call) -> None:
    """Record that a server stays where, and as, it was moved."""
    await _settle(call, "confirmResize", lambda moved: migration.ConfirmRequest(migration_id=moved.uuid))


async def revert_resize(call: api_call.Call) -> None:
    """Record that a server goes back to where it was, as it was."""
    await _settle(call, "revertResize", lambda moved: migration.RevertRequest(migration_id=moved.uuid))


async def _flavor_of(uow: wherry_uow.UnitOfWork, call: api_call.Call, named: str) -> flavor_model.Flavor:
    try:
        return await finding.flavor_of(uow, call, named)
    except errors.FlavorNotFound as error:
        # Nova's code for it: the path names a server, and that is there.
        raise faults.bad_request(error.message) from error


async def _settle(call: api_call.Call, method: str, request_of: _RequestOf) -> None:
    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        server = await finding.server_of(uow, call)
        moved = await _finished(uow, server)
        await readiness.require(uow, call, server, method, _RESIZED if moved is None else _STILL_TWO)
        if moved is None:
            raise errors.NotResized(uuid=server.uuid)
        before = await uow.operations.last_of_migration(moved.uuid)
        return await uow.operations.accept_after(before, server, request_of(moved), **_asked(call))

    accepted = await recording.record(call, unit)
    await recording.nudge(call, messages.OperationRecorded(operation_id=accepted.id))


async def _finished(uow: wherry_uow.UnitOfWork, server: server_model.Server) -> migration.Migration | None:
    """Find the migration that waits, if the server is where that brought it."""
    query = migration_rows.MigrationQuery(instance_uuid=server.uuid, statuses=[states.Status.FINISHED])
    found = await uow.migrations.list(query)
    return next((one for one in found if one.dest_compute == server.host), None)


async def _accepted(
    uow: wherry_uow.UnitOfWork, call: api_call.Call, server: server_model.Server, asked: migration.ColdMigrationRequest
) -> operation.Operation:
    accepted, _ = await uow.operations.accept(server, asked, **_asked(call))
    return accepted


def _asked(call: api_call.Call) -> dict[str, str]:
    caller = call.caller
    return {"request_id": caller.request_id, "user_id": caller.user_id, "project_id": caller.project_id}
