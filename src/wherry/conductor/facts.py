# SPDX-License-Identifier: Apache-2.0
"""What a source reports that it did to a transfer, as events of the request: whoever looks finds what was done when, and by which numbers.

Moves no status: only the owner of the operation does.
"""

from __future__ import annotations

from wherry.db import uow as uows
from wherry.model import instance_actions
from wherry.rpc import messages

#: How the details of what a deadline caused begin, as the agent writes them.
_BY_DEADLINE = "deadline"


async def tell(uow: uows.UnitOfWork, message: messages.ActionTaken) -> None:
    """Write an event that began and ended at this moment."""
    of = await uow.operations.get(message.operation_id)
    name, where = _name(message), (of.instance_uuid, of.request_id)
    result = instance_actions.Result.SUCCESS if message.is_done else instance_actions.Result.ERROR
    outcome = instance_actions.EventOutcome(result=result, details=message.detail)
    await uow.actions.start_event(*where, instance_actions.EventStart(name=name, host=message.host))
    await uow.actions.finish_event(*where, instance_actions.EventFinish(name=name, host=message.host, outcome=outcome))


def _name(message: messages.ActionTaken) -> instance_actions.EventName:
    if message.deadline is not None:
        return instance_actions.EventName.DEADLINE_CHANGED
    is_deadline = message.detail.startswith(_BY_DEADLINE)
    return instance_actions.EventName.DEADLINE_APPLIED if is_deadline else instance_actions.EventName.TRANSFER_ACTED_ON
