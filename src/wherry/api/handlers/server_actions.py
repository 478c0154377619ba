# SPDX-License-Identifier: Apache-2.0
"""Server actions: os-migrateLive, and the question what would become of it.

Records and nudges; every check of hosts and hypervisors runs behind the answer, in the conductor.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults, waiting
from wherry.api.handlers import finding, readiness, recording
from wherry.api.schemas import parameter_types
from wherry.db import uow as wherry_uow
from wherry.model import deadline, feasibility, migration, operation, states
from wherry.model import server as server_model
from wherry.policies import server_actions as policies
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

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
        await _wait_for_checks(call, accepted)
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
            await _check_host_is_known(uow, asked.host)
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

    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        server = await finding.server_of(uow, call)
        if asked.host is not None:
            call.require(policies.MIGRATE_LIVE_HOST, server.project_id)
        elif asked.force:
            raise faults.bad_request("Can't force to a non-provided destination. Send the name of a host with force, or no force.")
        await readiness.require(uow, call, server, _METHOD, _MIGRATABLE)
        if asked.host is not None:
            await _check_host_is_known(uow, asked.host)
        caller = call.caller
        accepted, _ = await uow.operations.accept(
            server, asked, request_id=caller.request_id, user_id=caller.user_id, project_id=caller.project_id
        )
        return accepted

    # Somebody may change the server after it was read; looking again tells whether that is in the way.
    return await recording.record(call, unit)


async def _check_host_is_known(uow: wherry_uow.UnitOfWork, host: str) -> None:
    try:
        await uow.hosts.get(host)
    except errors.HostNotFound as error:
        raise errors.DestinationNotFound(host=host) from error


async def _wait_for_checks(call: api_call.Call, accepted: operation.Operation) -> None:
    """Wait until the checks have passed, or raise why they have not.

    The conductor's answer is the fast way to know and the record the sure one: whichever speaks first is believed.
    """
    limit = call.parts.config.api.blocking_request_timeout_seconds
    clock = call.parts.clock
    started = clock.monotonic()
    answered = asyncio.create_task(_ask_conductor(call, accepted.id, limit), name=f"api-migrate-server-{accepted.id}")
    try:
        with call.parts.waiting.watching(accepted.id) as recorded:
            both: set[asyncio.Future[Any]] = {recorded, answered}
            await asyncio.wait(both, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if answered.done() and answered.result():
                return
            if not recorded.done():
                # No conductor answered, or it died while it was asked; another one goes on, and the record will tell.
                await asyncio.wait({recorded}, timeout=max(0.0, limit - (clock.monotonic() - started)))
            if not recorded.done():
                raise faults.HttpFault(
                    500,
                    f"Timed out after {limit:g} s waiting for the checks of the live migration of instance {accepted.instance_uuid}. "
                    f"It goes on: see migration {accepted.id} and the instance action of request {accepted.request_id}.",
                )
            _judge(recorded.result(), accepted)
    except waiting.Stopping:
        raise faults.HttpFault(
            503,
            f"The API is stopping. The live migration of instance {accepted.instance_uuid} goes on: see the instance action of "
            f"request {accepted.request_id}.",
        ) from None
    finally:
        answered.cancel()


async def _ask_conductor(call: api_call.Call, operation_id: str, limit: float) -> bool:
    """Give True when the conductor says that the checks passed, False when there is no answer.

    :raises HttpFault: what the conductor says of checks that failed
    """
    try:
        answer = await call.parts.rpc.call(addresses.conductor(), messages.MigrateServer(operation_id=operation_id), limit)
    except errors.Error as error:
        _log.info("No conductor answered; the record will", action="api.wait", migration_id=operation_id, slug=error.slug)
        return False
    if answer.error is None:
        return True
    failure = errors.from_wire(answer.error)
    raise faults.of_check(failure.slug, failure.message, failure.remedy)


def _judge(checked: waiting.Checked, accepted: operation.Operation) -> None:
    """Let pass what the record calls passed. What went wrong after the checks is not this answer's subject, as in Nova."""
    reason = checked.reason
    if checked.status is states.Status.ERROR:
        if reason is None:
            raise faults.HttpFault(500, f"The live migration ended in error. See the instance action of request {accepted.request_id}.")
        raise faults.of_check(reason.slug, reason.message, reason.remedy)
    if checked.status is states.Status.CANCELLED:
        why = f": {reason.message}" if reason is not None and reason.message else "."
        raise faults.HttpFault(409, f"The live migration of instance {accepted.instance_uuid} was cancelled{why}")
