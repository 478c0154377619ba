# SPDX-License-Identifier: Apache-2.0
"""Whether a server may take on an operation now: not locked, in a state that allows it, and held by no other."""

from __future__ import annotations

from collections.abc import Collection

from wherry import errors
from wherry.api import call as api_call
from wherry.db import uow as wherry_uow
from wherry.db.repositories import migrations as migration_rows
from wherry.model import operation, states
from wherry.model import server as server_model


async def require(
    uow: wherry_uow.UnitOfWork, call: api_call.Call, server: server_model.Server, method: str, allowed: Collection[server_model.VmState]
) -> None:
    """Make sure that it may, in Nova's order. A guest that its agent found has been launched, so Nova's launched_at needs no look.

    :param method: the operation in the words of Nova's errors
    :param allowed: states of the server in which it may be asked for
    :raises InstanceLocked: it is locked, and the caller is no administrator
    :raises InstanceInvalidState: its state does not allow it; InstanceBusy when a migration holds it
    """
    if server.locked_by is not None and not call.caller.is_admin:
        raise errors.InstanceLocked(uuid=server.uuid)
    if server.vm_state not in allowed:
        raise wrong_vm_state(server, method, allowed)
    # After os-resetState the task is over while its operation still ends.
    holder = await uow.operations.open_of_instance(server.uuid)
    if server.task_state is not None or holder is not None:
        raise await _busy(uow, server, method, holder)
    if server.host is None:
        instead = "Wait until it has been built, or delete it."
        raise errors.InstanceInvalidState(method=method, uuid=server.uuid, attribute="host", state="None", instead=instead)


def wrong_vm_state(server: server_model.Server, method: str, allowed: Collection[server_model.VmState]) -> errors.InstanceInvalidState:
    """Make the refusal that names the states in which it may be asked for."""
    return errors.InstanceInvalidState(
        method=method,
        uuid=server.uuid,
        attribute="vm_state",
        state=server.vm_state.value,
        instead=f"It must be {' or '.join(sorted(state.value for state in allowed))}.",
    )


def seems_free(call: api_call.Call, server: server_model.Server, allowed: Collection[server_model.VmState]) -> bool:
    """Whether nothing in the server's own record is in the way; what `require` would say of it is not asked."""
    is_locked = server.locked_by is not None and not call.caller.is_admin
    return not is_locked and server.vm_state in allowed and server.task_state is None and server.host is not None


async def require_settled(uow: wherry_uow.UnitOfWork, server: server_model.Server, method: str) -> None:
    """Make sure that no other host keeps a part of the server since its last move. A reset of its state does not change that.

    :raises MoveUnsettled: one does
    """
    query = migration_rows.MigrationQuery(instance_uuid=server.uuid, statuses=sorted(states.RESTING))
    for kept in await uow.migrations.list(query):
        raise errors.MoveUnsettled(method=method, uuid=server.uuid, host=kept.source_compute)


async def _busy(uow: wherry_uow.UnitOfWork, server: server_model.Server, method: str, holder: operation.Operation | None) -> errors.Error:
    """Name what holds the server, so that a client whose answer was lost finds its migration."""
    task = server.task_state
    if holder is None or holder.migration_uuid is None:
        if task is None and holder is not None and not isinstance(holder.request, operation.NewerRequest):
            task = operation.beginning_of(holder.request).task_state
        return errors.InstanceInvalidState(
            method=method,
            uuid=server.uuid,
            attribute="task_state",
            state=task.value if task else "None",
            instead="Send it again when that has ended: see the server's instance actions.",
        )
    record = await uow.migrations.get_by_uuid(holder.migration_uuid)
    return errors.InstanceBusy(
        method=method,
        uuid=server.uuid,
        state=task.value if task else "None",
        migration_id=record.id,
        request_id=holder.request_id,
        status=record.status.value,
    )
