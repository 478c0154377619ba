# SPDX-License-Identifier: Apache-2.0
"""Steps: have the server's host remove the guest and what was made for it, and call the server deleted."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps import change_power
from wherry.model import instance_actions, operation, server
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_EVENT = instance_actions.EventName.DESTROY


class BeginDeletion:
    """Touches nothing."""

    name = operation.StepName.BEGIN

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: a deletion is not taken back."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Open the event."""
        start = instance_actions.EventStart(name=_EVENT, host=on.plan.source or on.config.default.host)
        return drive.Advance(transition=operation.Transition(step=operation.StepName.DESTROY, started=(start,)))

    async def undo(self, on: drive.Drive) -> None:
        """There is nothing to undo."""


class Destroy:
    """One command, which finds its work done when it comes twice. A silent host is waited for, or owed it when it is called dead."""

    name = operation.StepName.DESTROY

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: a deletion is not taken back."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Have it removed. A server that no host has is only called deleted."""
        if not on.plan.source:
            return _deleted(on)
        command = messages.DestroyGuest(**on.ids)
        try:
            await change_power.tell(on, command, "remove the guest")
        except change_power.NOT_OURS:
            raise
        except errors.SourceDown as error:
            await chores.owe(on, on.plan.source, command, error)
        except errors.Error as error:
            if error.retryable and (isinstance(error, change_power.SILENT) or on.attempts < on.config.conductor.step_retry_limit):
                raise
            return _failed(on, error)
        return _deleted(on)

    async def undo(self, on: drive.Drive) -> None:
        """What is deleted does not come back."""


def _deleted(on: drive.Drive) -> drive.Advance:
    _log.info("A server was deleted.", instance_uuid=on.operation.instance_uuid, host=on.plan.source)
    change = server.ServerChange(
        vm_state=server.VmState.DELETED,
        power_state=server.PowerState.NOSTATE,
        clear_task=True,
        is_deleted=True,
        progress=0,
        reason=server.DELETED_ON_REQUEST,
    )
    return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, server=change))


def _failed(on: drive.Drive, error: errors.Error) -> drive.Advance:
    """It is still there: say so, and let it be tried again."""
    _log.warning("A server could not be deleted.", instance_uuid=on.operation.instance_uuid, host=on.plan.source, slug=error.slug)
    outcome = instance_events.outcome_of(error)
    fault = server.Fault(message=error.message, created_at=on.clock.now(), details=outcome.details or "")
    change = server.ServerChange(vm_state=server.VmState.ERROR, clear_task=True, fault=fault)
    return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, server=change, closing=outcome))
