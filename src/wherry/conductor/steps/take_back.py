# SPDX-License-Identifier: Apache-2.0
"""Step: have a host remove what it made of a guest that does not become a server there; and how a server ends that cannot be made."""

from __future__ import annotations

from wherry import errors
from wherry.conductor import chores, drive
from wherry.conductor.steps import change_power
from wherry.model import instance_actions, operation, server
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class TakeBack:
    """The guest never was anybody's: it goes, whatever it does. A silent host is waited for, or owed it when it is called dead."""

    name = operation.StepName.TAKE_BACK

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: what was made must go."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Remove it; then another host is tried, unless nobody wants the server any more."""
        command = messages.DestroyGuest(**on.ids)
        try:
            await change_power.tell(on, command, "remove the guest")
        except change_power.NOT_OURS:
            raise
        except errors.Error as error:
            is_dead = isinstance(error, errors.SourceDown)
            if not is_dead and (isinstance(error, change_power.SILENT) or on.attempts < on.config.conductor.step_retry_limit):
                raise
            await chores.owe(on, on.plan.source, command, error)
        if on.wants(operation.IntentKind.ABORT):
            return given_up(on)
        # The host is free of it: the claim goes with the server's host.
        change = server.ServerChange(clear_host=True, task_state=server.TaskState.SCHEDULING)
        started = (instance_actions.EventStart(name=instance_actions.EventName.SCHEDULE, host=on.config.default.host),)
        return drive.Advance(transition=operation.Transition(step=operation.StepName.CHOOSE_HOST, server=change, started=started))

    async def undo(self, on: drive.Drive) -> None:
        """There is no way back from here."""


def given_up(on: drive.Drive) -> drive.Advance:
    """Give the end of a server that nobody wants made any more; its deletion follows where that was asked for."""
    outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="Given up on request.")
    return failed(on, outcome, "The server was given up while it was made.")


def failed(on: drive.Drive, outcome: instance_actions.EventOutcome, message: str) -> drive.Advance:
    """Give the end of a server that no host makes."""
    _log.info("A server could not be made.", instance_uuid=on.operation.instance_uuid, details=outcome.details)
    fault = server.Fault(message=message, created_at=on.clock.now(), details=outcome.details or "")
    change = server.ServerChange(vm_state=server.VmState.ERROR, clear_task=True, clear_host=True, fault=fault)
    return drive.Advance(transition=operation.Transition(step=operation.StepName.DONE, server=change, closing=outcome))
