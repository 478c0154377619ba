# SPDX-License-Identifier: Apache-2.0
"""Server actions that change the record alone: lock, unlock, os-resetState. No host is asked anything."""

from __future__ import annotations

from typing import Any, cast

from wherry.api import call as api_call
from wherry.api.handlers import finding, recording
from wherry.db import uow as wherry_uow
from wherry.model import instance_actions, operation
from wherry.model import server as server_model
from wherry.policies import server_actions as policies
from wherry.rpc import messages


async def lock(call: api_call.Call) -> None:
    """Lock a server against everybody who is no administrator. An owner's lock over another lock changes nothing, as in Nova."""
    reason = call.body.get("locked_reason") if isinstance(call.body, dict) and call.version >= (2, 73) else None

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        server = await finding.server_of(uow, call)
        if server.locked_by is not None and _is_owner(call, server):
            return
        await uow.servers.update(server, locked_by="owner" if _is_owner(call, server) else "admin", locked_reason=reason)
        await _note(uow, call, server, instance_actions.ActionName.LOCK, instance_actions.EventName.LOCK)

    await recording.record(call, unit)


async def unlock(call: api_call.Call) -> None:
    """Unlock a server; one that somebody else locked only where a further rule allows it."""

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        server = await finding.server_of(uow, call)
        if server.locked_by is not None and server.locked_by != ("owner" if _is_owner(call, server) else "admin"):
            call.require(policies.UNLOCK_OVERRIDE, server.project_id)
        await uow.servers.update(server, locked_by=None, locked_reason=None)
        await _note(uow, call, server, instance_actions.ActionName.UNLOCK, instance_actions.EventName.UNLOCK)

    await recording.record(call, unit)


async def reset_state(call: api_call.Call) -> None:
    """Set the server's state, and want what is under way given up: what the hypervisors do must not go on behind the record's back."""
    vm_state = server_model.VmState(cast("dict[str, Any]", call.body)["state"])

    async def unit(uow: wherry_uow.UnitOfWork) -> str | None:
        server = await finding.server_of(uow, call)
        holder = await uow.operations.open_of_instance(server.uuid)
        await uow.servers.update(server, in_operation=True, vm_state=vm_state, task_state=None, progress=0, reason=None)
        await recording.note_action(uow, call, server.uuid, instance_actions.ActionName.RESET_STATE)
        if holder is None:
            return None
        # In post-copy, too: whether it comes too late is told by the action's event.
        await uow.operations.record_intent(holder.id, operation.IntentKind.ABORT, request_id=call.caller.request_id)
        return holder.id

    operation_id = await recording.record(call, unit)
    if operation_id is not None:
        await recording.nudge(call, messages.IntentRecorded(operation_id=operation_id))


def _is_owner(call: api_call.Call, server: server_model.Server) -> bool:
    return server.project_id == call.caller.project_id


async def _note(
    uow: wherry_uow.UnitOfWork,
    call: api_call.Call,
    server: server_model.Server,
    action: instance_actions.ActionName,
    event: instance_actions.EventName,
) -> None:
    """Record the action with its one event, which has ended when the answer goes out."""
    host, request_id = call.parts.config.default.host, call.caller.request_id
    await recording.note_action(uow, call, server.uuid, action)
    await uow.actions.start_event(server.uuid, request_id, instance_actions.EventStart(name=event, host=host))
    finish = instance_actions.EventFinish(name=event, host=host, outcome=instance_actions.SUCCEEDED)
    await uow.actions.finish_event(server.uuid, request_id, finish)
