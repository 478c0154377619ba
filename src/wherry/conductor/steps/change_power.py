# SPDX-License-Identifier: Apache-2.0
"""Step: have the guest's host pause it, let it run, start it or power it off; and how every power action ends."""

from __future__ import annotations

from typing import Any, TypeVar

from wherry import errors
from wherry.conductor import drive
from wherry.model import guest, instance_actions, operation, power, server
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

R = TypeVar("R", bound=messages.Message)

#: The host gave no answer of its own: what became of the command is not known.
SILENT = (errors.HostUnreachable, errors.RpcTimeout, errors.BusUnavailable)
#: Says nothing about the guest: this conductor must not go on, or cannot.
NOT_OURS = (errors.LeaseLost, errors.StaleEpoch, errors.DatabaseUnavailable)


class ChangePower:
    """One command, which finds its work done when it comes twice. A silent host is waited for, as Nova does."""

    name = operation.StepName.CHANGE_POWER

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state ends it here; what the host makes of an earlier try is told by its inventory."""
        return given_up(on)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Have it done, and take the server's states from what the host shows afterwards."""
        try:
            answer = await tell(on, messages.ChangePower(**on.ids, action=on.power_action))
        except NOT_OURS:
            raise
        except errors.Error as error:
            if error.retryable and (isinstance(error, SILENT) or on.attempts < on.config.conductor.step_retry_limit):
                raise
            return _ended(on, instance_events.outcome_of(error), server.ServerChange(clear_task=True))
        return _ended(on, answer.outcome, server.ServerChange(clear_task=True, clear_fault=True, **_states_of(on, answer.state)))

    async def undo(self, on: drive.Drive) -> None:
        """A power action is not undone: another one is asked for."""


def _states_of(on: drive.Drive, state: guest.GuestState) -> dict[str, Any]:
    if on.power_action is power.PowerAction.SUSPEND and state is guest.GuestState.SHUT_OFF:
        # To its hypervisor it is as off as a stopped one.
        return {"vm_state": server.VmState.SUSPENDED, "power_state": server.PowerState.SHUTDOWN}
    return drive.states_of(state)


async def tell(on: drive.Drive, command: messages.Request[R], what: str = "", host: str = "") -> R:
    """Send a command to the guest's host.

    :param what: the command in words; empty for the power action.
    :param host: where the plan's source is not that host.

    :raises SourceDown: when it is silent and an operator has said that it is dead.
    :raises HypervisorFailure: when a migration of the guest that has not ended there forbids it.
    """
    host = host or on.plan.source
    try:
        return await on.ask(host, command)
    except errors.StaleEpoch as error:
        await on.require_own(error)
        raise errors.HypervisorFailure(host=host, what=what or f"{on.power_action.value} the guest", detail=error.message) from error
    except SILENT as error:
        record = await on.store.read(lambda uow: uow.hosts.get(host))
        if record.is_forced_down:
            raise errors.SourceDown(host=host) from error
        raise


def is_refusal(error: errors.Error) -> bool:
    """Whether `tell` failed since the host did not obey: an operation of the guest that has not ended there forbids it."""
    return isinstance(error.__cause__, errors.StaleEpoch)


def given_up(on: drive.Drive) -> drive.Advance | None:
    """Give the end of a power action that was given up on request; None where nobody asked for it."""
    if not on.wants(operation.IntentKind.ABORT):
        return None
    why = "it is to be deleted" if on.wants(operation.IntentKind.DELETE) else "its state was reset"
    outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=f"The action on the server was given up: {why}.")
    return _ended(on, outcome, server.ServerChange(clear_task=True))


def _ended(on: drive.Drive, outcome: instance_actions.EventOutcome, change: server.ServerChange) -> drive.Advance:
    _log.info(
        "A power action has ended.",
        action=on.power_action.value,
        operation_id=on.operation.id,
        instance_uuid=on.operation.instance_uuid,
        host=on.plan.source,
        request_id=on.operation.request_id,
        result=outcome.result.value,
        details=outcome.details,
    )
    return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, server=change, closing=outcome))
