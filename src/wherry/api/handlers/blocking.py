# SPDX-License-Identifier: Apache-2.0
"""Requests that are answered after their checks: a client waits here, for the conductor's answer or for the record's.

Records nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults, waiting
from wherry.db import uow as wherry_uow
from wherry.model import operation, states
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


async def check_host_is_known(uow: wherry_uow.UnitOfWork, host: str) -> None:
    """Make sure that there is such a host.

    :raises DestinationNotFound: there is none
    """
    try:
        await uow.hosts.get(host)
    except errors.HostNotFound as error:
        raise errors.DestinationNotFound(host=host) from error


async def wait_for_checks(call: api_call.Call, accepted: operation.Operation) -> None:
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
                    f"Timed out after {limit:g} s waiting for the checks of the migration of instance {accepted.instance_uuid}. "
                    f"It goes on: see migration {accepted.id} and the instance action of request {accepted.request_id}.",
                )
            _judge(recorded.result(), accepted)
    except waiting.Stopping:
        raise faults.HttpFault(
            503,
            f"The API is stopping. The migration of instance {accepted.instance_uuid} goes on: see the instance action of "
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
            raise faults.HttpFault(500, f"The migration ended in error. See the instance action of request {accepted.request_id}.")
        raise faults.of_check(reason.slug, reason.message, reason.remedy)
    if checked.status is states.Status.CANCELLED:
        why = f": {reason.message}" if reason is not None and reason.message else "."
        raise faults.HttpFault(409, f"The migration of instance {accepted.instance_uuid} was cancelled{why}")
