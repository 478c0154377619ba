# SPDX-License-Identifier: Apache-2.0
"""Steps: have the server's host remove the guest and what was made for it, and call the server deleted.

Where its last cold migration or resize waits, the other end has a part of it, too, and that migration ends with the server.
"""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps import change_power
from wherry.model import guest, instance_actions, operation, server, states
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
        start = instance_actions.EventStart(name=_EVENT, host=await _host_of(on) or on.config.default.host)
        event = None if on.record is None else states.Event.CONFIRM_STARTED
        return drive.Advance(transition=operation.Transition(step=operation.StepName.DESTROY, event=event, started=(start,)))

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
        host = await _host_of(on)
        if host:
            # Under its own id, for nothing that the move has brought is to go which is not the guest's own.
            command = messages.DestroyGuest(**on.ids | {"operation_id": on.operation.id})
            try:
                await change_power.tell(on, command, "remove the guest", host)
            except change_power.NOT_OURS:
                raise
            except errors.SourceDown as error:
                await chores.owe(on, host, command, error)
            except errors.Error as error:
                if error.retryable and (isinstance(error, change_power.SILENT) or on.attempts < on.config.conductor.step_retry_limit):
                    raise
                if not await _is_gone(on, host, error):
                    return _failed(on, host, error)
                await chores.owe(on, host, command, error)
        if on.record is not None:
            # Last, for what cannot be done of it is owed: from here on nothing fails.
            await _clear_other_ends(on, host)
        return _deleted(on, host)

    async def undo(self, on: drive.Drive) -> None:
        """What is deleted does not come back."""


async def _host_of(on: drive.Drive) -> str:
    """Give where the server is: for one whose last move waits, whichever end that brought it to, or where somebody took it since."""
    if on.record is None:
        return on.plan.source
    return (await on.store.read(lambda uow: uow.servers.get(on.operation.instance_uuid))).host or ""


async def _is_gone(on: drive.Drive, host: str, error: errors.Error) -> bool:
    """Whether the guest is no longer there, though its removal has failed: then the server cannot stay, and only the rest is to be cleaned.

    Where nothing can be told just now, the look's own error has the step run again.
    """
    if change_power.is_refusal(error):
        # Another operation of the guest is under way there, and it may be absent for being elsewhere.
        return False
    look = messages.ObserveGuest(**on.ids | {"operation_id": on.operation.id})
    try:
        seen = await change_power.tell(on, look, "look for the guest", host)
    except errors.SourceDown:
        raise
    except errors.Error as problem:
        if problem.retryable or isinstance(problem, change_power.NOT_OURS):
            raise
        return False
    return seen.observation.state is guest.GuestState.ABSENT


async def _clear_other_ends(on: drive.Drive, host: str) -> None:
    """Have what the move left elsewhere removed as a confirmation or a way back would, but whatever its state."""
    commands: dict[str, messages.Request[messages.StageDone]] = {
        on.destination: messages.DiscardArrival(**on.moving),
        on.plan.source: messages.ConfirmSource(**on.moving, is_deletion=True),
    }
    for end, command in commands.items():
        if end != host:
            await chores.ask_or_owe(on, end, command, tries=on.config.conductor.step_retry_limit)


def _deleted(on: drive.Drive, host: str) -> drive.Advance:
    _log.info("A server was deleted.", instance_uuid=on.operation.instance_uuid, host=host)
    change = server.ServerChange(
        vm_state=server.VmState.DELETED,
        power_state=server.PowerState.NOSTATE,
        clear_task=True,
        is_deleted=True,
        progress=0,
        reason=server.DELETED_ON_REQUEST,
    )
    event = None if on.record is None else states.Event.CONFIRMED
    return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, event=event, server=change))


def _failed(on: drive.Drive, host: str, error: errors.Error) -> drive.Advance:
    """It is still there: say so, and let it be tried again."""
    _log.warning("A server could not be deleted.", instance_uuid=on.operation.instance_uuid, host=host, slug=error.slug)
    outcome = instance_events.outcome_of(error)
    fault = server.Fault(message=error.message, created_at=on.clock.now(), details=outcome.details or "")
    change = server.ServerChange(vm_state=server.VmState.ERROR, clear_task=True, fault=fault)
    event = None if on.record is None else states.Event.GIVEN_UP
    return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, event=event, server=change, closing=outcome))
