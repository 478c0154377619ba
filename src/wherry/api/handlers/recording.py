# SPDX-License-Identifier: Apache-2.0
"""How handlers record what was asked for, and tell a conductor that something was recorded. They say what; this says how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from wherry import errors
from wherry.api import call as api_call
from wherry.db import uow as wherry_uow
from wherry.model import instance_actions
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

T = TypeVar("T")

#: How often a request is recorded again after somebody changed the server in the same moment.
_ATTEMPTS = 3


async def record(call: api_call.Call, unit: Callable[[wherry_uow.UnitOfWork], Awaitable[T]]) -> T:
    """Run a unit that writes a server as it read it; again when somebody else wrote it in between.

    :raises StaleWrite: somebody did so each time
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return await call.parts.store.run(unit)
        except errors.StaleWrite:
            continue
    return await call.parts.store.run(unit)


async def note_action(uow: wherry_uow.UnitOfWork, call: api_call.Call, server_id: str, action: instance_actions.ActionName) -> None:
    """Record what the caller asked of a server, under the request's own id."""
    caller = call.caller
    await uow.actions.record(
        instance_uuid=server_id, request_id=caller.request_id, action=action, user_id=caller.user_id, project_id=caller.project_id
    )


async def nudge(call: api_call.Call, message: messages.AboutOperation) -> None:
    """Tell a conductor at once. The row says everything: if nobody hears, a conductor's sweep finds it within a second or two."""
    try:
        await call.parts.rpc.cast(addresses.conductor(), message)
    except errors.Error as error:
        _log.warning(
            "A conductor could not be nudged", action="api.nudge", migration_id=message.operation_id, slug=error.slug, error=error.message
        )
