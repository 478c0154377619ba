# SPDX-License-Identifier: Apache-2.0
"""Deleting servers, in whatever state, and reading their consoles. Records and nudges; a conductor has the host do it."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api.handlers import finding, recording
from wherry.db import deletion
from wherry.db import uow as wherry_uow
from wherry.model import instance_actions, operation
from wherry.rpc import addresses, messages


async def delete_server(call: api_call.Call) -> None:
    """Record that a server is to be deleted. What is under way with it is given up first, and the deletion follows its end."""

    async def unit(uow: wherry_uow.UnitOfWork) -> messages.AboutOperation | None:
        server = await finding.server_of(uow, call)
        if server.locked_by is not None and not call.caller.is_admin:
            raise errors.InstanceLocked(uuid=server.uuid)
        holder = await uow.operations.open_of_instance(server.uuid)
        caller = call.caller
        if holder is None:
            await recording.note_action(uow, call, server.uuid, instance_actions.ActionName.DELETE)
            asked = {"request_id": caller.request_id, "user_id": caller.user_id, "project_id": caller.project_id}
            begun = await deletion.begin(uow, server, **asked)
            return messages.OperationRecorded(operation_id=begun.id)
        if holder.kind is operation.OperationKind.DELETE or await _is_wanted(uow, holder):
            # It is on its way already: once is enough.
            return None
        await recording.note_action(uow, call, server.uuid, instance_actions.ActionName.DELETE)
        for kind in (operation.IntentKind.ABORT, operation.IntentKind.DELETE):
            await uow.operations.record_intent(holder.id, kind, request_id=caller.request_id)
        return messages.IntentRecorded(operation_id=holder.id)

    message = await recording.record(call, unit)
    if message is not None:
        await recording.nudge(call, message)


async def _is_wanted(uow: wherry_uow.UnitOfWork, holder: operation.Operation) -> bool:
    return any(intent.kind is operation.IntentKind.DELETE for intent in await uow.operations.pending_intents(holder.id))


async def show_console(call: api_call.Call) -> str:
    """Give the end of what the guest has written to its serial console."""
    asked = call.body.get("length") if isinstance(call.body, dict) else None
    lines = None if asked is None or int(asked) < 0 else int(asked)

    async def unit(uow: wherry_uow.UnitOfWork) -> str:
        server = await finding.server_of(uow, call)
        if server.host is None:
            raise errors.InstanceInvalidState(
                method="get_console_output",
                uuid=server.uuid,
                attribute="vm_state",
                state=server.vm_state.value,
                instead="Ask once it has been built.",
            )
        return server.uuid

    uuid = await call.parts.store.read(unit)
    answer = await call.parts.rpc.call(addresses.conductor(), messages.ShowConsole(instance_uuid=uuid, lines=lines))
    return answer.output
