# SPDX-License-Identifier: Apache-2.0
"""Server actions about a guest's power and memory: pause to resume. Records and nudges; the conductor has the guest's host do it."""

from __future__ import annotations

from typing import Any, cast

from wherry.api import call as api_call
from wherry.api.handlers import finding, readiness, recording
from wherry.db import uow as wherry_uow
from wherry.model import operation, power
from wherry.rpc import messages


async def pause(call: api_call.Call) -> None:
    """Record that a server is to be paused."""
    await _record(call, power.PowerAction.PAUSE)


async def unpause(call: api_call.Call) -> None:
    """Record that a paused server is to run on."""
    await _record(call, power.PowerAction.UNPAUSE)


async def start(call: api_call.Call) -> None:
    """Record that a stopped server is to be started."""
    await _record(call, power.PowerAction.START)


async def stop(call: api_call.Call) -> None:
    """Record that a server is to be shut down, and powered off if it does not heed that."""
    await _record(call, power.PowerAction.STOP)


async def reboot(call: api_call.Call) -> None:
    """Record that a server is to be rebooted: softly, by asking the guest first, or hard."""
    is_soft = str(cast("dict[str, Any]", call.body)["type"]).upper() == "SOFT"
    await _record(call, power.PowerAction.REBOOT if is_soft else power.PowerAction.REBOOT_HARD)


async def suspend(call: api_call.Call) -> None:
    """Record that a server's memory is to be saved and its guest be off."""
    await _record(call, power.PowerAction.SUSPEND)


async def resume(call: api_call.Call) -> None:
    """Record that a suspended server is to go on where it was."""
    await _record(call, power.PowerAction.RESUME)


async def _record(call: api_call.Call, action: power.PowerAction) -> None:
    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        server = await finding.server_of(uow, call)
        await readiness.require(uow, call, server, power.TERMS[action].action.value, power.TERMS[action].allowed)
        caller = call.caller
        accepted, _ = await uow.operations.accept(
            server,
            power.PowerRequest(action=action),
            request_id=caller.request_id,
            user_id=caller.user_id,
            project_id=caller.project_id,
        )
        return accepted

    accepted = await recording.record(call, unit)
    await recording.nudge(call, messages.OperationRecorded(operation_id=accepted.id))
