# SPDX-License-Identifier: Apache-2.0
"""How the steps of a cold migration talk to its two hosts, and how they end it. Asks nothing itself but what it is given."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from wherry import errors
from wherry.conductor import chores, drive
from wherry.model import flavor as flavors
from wherry.model import guest, instance_actions, migration, operation, server, states
from wherry.rpc import messages

R = TypeVar("R", bound=messages.Message)

#: The host gave no answer of its own: what became of the command is not known.
SILENT = (errors.HostUnreachable, errors.RpcTimeout, errors.BusUnavailable, errors.HypervisorUnavailable)
#: Says nothing about the guest: this conductor must not go on, or cannot.
NOT_OURS = (errors.LeaseLost, errors.DatabaseUnavailable)
#: States in which a host does not run a guest.
OFF = frozenset({guest.GuestState.SHUT_OFF, guest.GuestState.ABSENT})


class HostDead(Exception):
    """A silent host, of which an operator has said that it is dead."""


async def ask(on: drive.Drive, host: str, command: messages.Request[R]) -> R:
    """Send a command to a host that must answer before anything else is done.

    :raises HostDead: when it is silent and an operator has said that it is dead.
    :raises StaleEpoch: when another conductor owns the operation.
    """
    try:
        return await on.ask(host, command)
    except errors.StaleEpoch as error:
        await on.require_own(error)
        detail = f"the migration was ended there: {error.message}"
        raise errors.HypervisorFailure(host=host, what="go on with the migration", detail=detail) from error
    except SILENT as error:
        record = await on.store.read(lambda uow: uow.hosts.get(host))
        if record.is_forced_down:
            raise HostDead from error
        raise


def is_passing(on: drive.Drive, error: errors.Error) -> bool:
    """Whether a step is to be run again after this error of a host: silence is waited for, other passing trouble a few times."""
    return isinstance(error, SILENT) or (error.retryable and on.attempts < on.config.conductor.step_retry_limit)


def undo(on: drive.Drive, event: states.Event, reason: migration.Reason) -> drive.Advance:
    """Give the move to the undo, with the end that is decided already."""
    outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=reason.message)
    stage = instance_actions.EventName.FINISH_RESIZE if on.plan.is_destination_commanded else instance_actions.EventName.RESIZE_INSTANCE
    where = on.destination if on.plan.is_destination_commanded else on.plan.source
    transition = drive.undo(
        migration.Ending(event=event, reason=reason),
        on.plan,
        finished=(instance_actions.EventFinish(name=stage, host=where, outcome=outcome),),
        started=(instance_actions.EventStart(name=instance_actions.EventName.ROLL_BACK_RESIZE, host=on.plan.source),),
    )
    return drive.Advance(transition=transition)


def aborted(on: drive.Drive) -> drive.Advance | None:
    """Give the move to the undo where the server's state was reset meanwhile; None where it was not."""
    if not on.wants(operation.IntentKind.ABORT):
        return None
    reason = migration.Reason(slug="requested", message="Given up: the server's state was reset.")
    return undo(on, states.Event.ABORTED, reason)


def refused(on: drive.Drive, event: instance_actions.EventName, host: str, outcome: instance_actions.EventOutcome) -> drive.Advance:
    """Give the end of a confirmation or a way back that cannot be done: the migration goes on waiting for either."""
    transition = operation.Transition(
        step=operation.StepName.DONE,
        event=states.Event.GIVEN_UP,
        plan=with_plan(on, power_off_at=None),
        server=server.ServerChange(clear_task=True),
        finished=(instance_actions.EventFinish(name=event, host=host, outcome=outcome),),
        closing=outcome,
    )
    return drive.Advance(transition=transition)


def dead(host: str) -> migration.Reason:
    """Give the reason for which a move is undone whose host is dead."""
    return migration.Reason(slug="host_dead", message=f"{host} does not answer, and its service is forced down.")


def placed(seen: guest.Guest, host: str, node: str | None, flavor: flavors.Flavor | None) -> server.ServerChange:
    """Give what a guest that was described on its host means for its server, all but its states.

    :param flavor: the one that a resize gave it; None = it keeps its own.
    """
    return server.ServerChange(
        flavor=flavor,
        host=host,
        node=node,
        memory_mib=seen.memory_mib,
        vcpus=seen.vcpus,
        root_gib=seen.root_gib,
        disks=seen.disks,
        progress=0,
    )


def resized(change: server.ServerChange, seen: guest.Guest) -> server.ServerChange:
    """Give the same for a server that waits to be confirmed or reverted."""
    _, power_state = server.STATES_OF_GUEST.get(seen.state, (None, None))
    return dataclasses.replace(change, vm_state=server.VmState.RESIZED, power_state=power_state, clear_task=True)


def with_states(change: server.ServerChange, states_of_guest: dict[str, Any]) -> server.ServerChange:
    """Give the same with the server's states."""
    return dataclasses.replace(change, **states_of_guest)


def letting_go(on: drive.Drive) -> tuple[drive.Owed, ...]:
    """Have a destination that the guest will not go to remove what this migration made there, once that is stored."""
    return () if on.plan.is_same_host else (drive.Owed(host=on.destination, command=messages.DiscardArrival(**on.moving)),)


async def forget_destination(on: drive.Drive) -> None:
    """Have it do so at once: nobody will check it again, whatever is stored next. A silent one is owed it."""
    for owed in letting_go(on):
        await chores.ask_or_owe(on, owed.host, owed.command)


def with_plan(on: drive.Drive, **changes: Any) -> migration.DrivenPlan:
    """Give the plan with what was found out."""
    return dataclasses.replace(on.plan, **changes)
