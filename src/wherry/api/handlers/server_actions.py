# SPDX-License-Identifier: Apache-2.0
"""Server actions: os-migrateLive, and the question what would become of it.

Records and nudges; every check of hosts and hypervisors runs behind the answer, in the conductor.
"""

from __future__ import annotations

from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import blocking, finding, readiness, recording
from wherry.api.schemas import parameter_types
from wherry.db import uow as wherry_uow
from wherry.model import deadline, feasibility, migration, operation
from wherry.model import server as server_model
from wherry.policies import server_actions as policies
from wherry.rpc import addresses, messages

_METHOD = "os-migrateLive"
_CHECK_METHOD = "os-checkMigrateLive"
_MIGRATABLE = (server_model.VmState.ACTIVE, server_model.VmState.PAUSED)
#: First version that is answered before the checks.
_ASYNCHRONOUS_FROM = (2, 34)


async def live_migrate(call: api_call.Call) -> None:
    """Record a live migration. From 2.34 on that is all; below, wait for the checks.

    No agent is asked anything before a 2.34 request is answered, and no conductor is waited for.
    """
    asked = _request_of(call)
    accepted = await _accept(call, asked)
    if asked.is_blocking:
        await blocking.wait_for_checks(call, accepted)
        return
    await recording.nudge(call, messages.LiveMigrateServer(operation_id=accepted.id))


async def check_live_migration(call: api_call.Call) -> feasibility.Feasibility:
    """Ask a conductor what would become of a live migration; the server is left as it is."""
    asked = _request_of(call)

    async def unit(uow: wherry_uow.UnitOfWork) -> server_model.Server:
        server = await finding.server_of(uow, call)
        if asked.host is not None:
            call.require(policies.MIGRATE_LIVE_HOST, server.project_id)
        await readiness.require(uow, call, server, _CHECK_METHOD, _MIGRATABLE)
        if asked.host is not None:
            await blocking.check_host_is_known(uow, asked.host)
        return server

    server = await call.parts.store.read(unit)
    limit = call.parts.config.api.blocking_request_timeout_seconds
    answer = await call.parts.rpc.call(addresses.conductor(), messages.CheckLiveMigration(instance_uuid=server.uuid, request=asked), limit)
    return answer.feasibility


def _request_of(call: api_call.Call) -> migration.LiveMigrationRequest:
    body = cast("dict[str, Any]", call.body)
    host = body["host"]
    block = body["block_migration"]
    over_commit = body.get("disk_over_commit")
    on_timeout = body.get("on_timeout")
    # Up to 2.29 a named host was taken as it was; from 2.30 on only where force says so, which 2.68 took away.
    force = host is not None if call.version < (2, 30) else parameter_types.as_bool(body.get("force", False))
    return migration.LiveMigrationRequest(
        host=host,
        force=force,
        block_migration=None if block == "auto" else parameter_types.as_bool(block),
        disk_over_commit=None if over_commit is None else parameter_types.as_bool(over_commit),
        timeout_seconds=body.get("timeout_seconds"),
        on_timeout=None if on_timeout is None else deadline.TimeoutAction(on_timeout),
        is_blocking=call.version < _ASYNCHRONOUS_FROM,
        microversion=str(call.version),
    )


async def _accept(call: api_call.Call, asked: migration.LiveMigrationRequest) -> operation.Operation:
    """Record the request, or say why not: server 404, rule 403, state 409, host 400, all read in the transaction that records."""
    accepted = await _accept_unhindered(call, asked)
    if accepted is not None:
        return accepted

    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        server = await finding.server_of(uow, call)
        if asked.host is not None:
            call.require(policies.MIGRATE_LIVE_HOST, server.project_id)
        elif asked.force:
            raise faults.bad_request("Can't force to a non-provided destination. Send the name of a host with force, or no force.")
        await readiness.require(uow, call, server, _METHOD, _MIGRATABLE)
        await readiness.require_settled(uow, server, _METHOD)
        if asked.host is not None:
            await blocking.check_host_is_known(uow, asked.host)
        return await _record(uow, call, server, asked)

    # Somebody may change the server after it was read; looking again tells whether that is in the way.
    return await recording.record(call, unit)


async def _accept_unhindered(call: api_call.Call, asked: migration.LiveMigrationRequest) -> operation.Operation | None:
    """Record what nothing seems to be in the way of, in two statements; None when something is, and nothing was recorded.

    That nothing has come in the way since the server was read, the second statement sees to itself.
    """
    server = await call.parts.store.look(lambda uow: finding.server_of(uow, call))
    if asked.host is not None or asked.force or not readiness.seems_free(call, server, _MIGRATABLE):
        return None
    try:
        return await call.parts.store.put(lambda uow: _record(uow, call, server, asked))
    except errors.StaleWrite:
        return None


async def _record(
    uow: wherry_uow.UnitOfWork, call: api_call.Call, server: server_model.Server, asked: migration.LiveMigrationRequest
) -> operation.Operation:
    caller = call.caller
    accepted, _ = await uow.operations.accept(
        server, asked, request_id=caller.request_id, user_id=caller.user_id, project_id=caller.project_id
    )
    return accepted
