# SPDX-License-Identifier: Apache-2.0
"""Services, which are the agents of hosts: list, enable, disable, declare dead, remove."""

from __future__ import annotations

from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import services as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import hosts as host_rows
from wherry.model import host as model

_ACTIONS = ("enable", "disable", "disable-log-reason")
_BY_UUID_FROM = (2, 53)
#: Known from 2.11 on.
_FORCE_DOWN = "force-down"


async def list_services(call: api_call.Call) -> list[view.ShownService]:
    """Give the services; a host or binary that nobody has gives none."""
    host, binary = call.query.one("host"), call.query.one("binary")
    if binary is not None and binary != view.BINARY:
        return []

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.Host]:
        return await uow.hosts.list(host_rows.HostQuery(names=None if host is None else [host]))

    return [_shown(call, found) for found in await call.parts.store.read(unit)]


async def update_service(call: api_call.Call) -> view.ShownService:
    """Change a service that is named by its uuid (2.53 and later)."""
    named = _uuid(call.arguments["service_id"])
    body = cast("dict[str, Any]", call.body)
    status, reason = body.get("status"), body.get("disabled_reason")
    forced = body.get("forced_down")
    if reason is not None and status != "disabled":
        raise faults.bad_request("Specifying disabled_reason requires that status is 'disabled'.")
    if status is None and forced is None:
        raise faults.bad_request("No updates were requested. Fields 'status' or 'forced_down' should be specified.")

    async def unit(uow: wherry_uow.UnitOfWork) -> model.Host:
        try:
            host = await uow.hosts.get_by_id(named)
        except errors.HostNotFound as error:
            raise errors.ServiceNotFound(service=named) from error
        return await uow.hosts.update_service(
            host.name,
            is_disabled=None if status is None else status == "disabled",
            disabled_reason=reason,
            is_forced_down=None if forced is None else parameter_types.as_bool(forced),
        )

    return _shown(call, await call.parts.store.run(unit))


async def update_service_by_name(call: api_call.Call) -> view.UpdatedService:
    """Change a service that the body names, in the way that the path names (up to 2.52)."""
    action = call.arguments["service_id"]
    if action not in _ACTIONS and not (action == _FORCE_DOWN and call.version >= (2, 11)):
        raise faults.HttpFault(404, "Unknown action")
    body = cast("dict[str, Any]", call.body)
    host, binary = body["host"], body["binary"]
    if binary != view.BINARY:
        raise errors.ServiceNotFound(service=f"{binary} on {host}")
    if action == "disable-log-reason" and "disabled_reason" not in body:
        raise faults.bad_request("Missing disabled reason field")
    if action == _FORCE_DOWN and "forced_down" not in body:
        raise faults.bad_request("Missing field: forced_down")
    is_disabled = {"enable": False, "disable": True, "disable-log-reason": True}.get(action)
    forced = parameter_types.as_bool(body["forced_down"]) if action == _FORCE_DOWN else None

    async def unit(uow: wherry_uow.UnitOfWork) -> model.Host:
        try:
            return await uow.hosts.update_service(
                host,
                is_disabled=is_disabled,
                disabled_reason=body.get("disabled_reason") if action == "disable-log-reason" else None,
                is_forced_down=forced,
            )
        except errors.HostNotFound as error:
            raise errors.ServiceNotFound(service=f"{binary} on {host}") from error

    return view.UpdatedService(host=await call.parts.store.run(unit), action=action)


async def delete_service(call: api_call.Call) -> None:
    """Remove a service, named by its number up to 2.52 and by its uuid from then on. A living agent registers its host anew."""
    named = call.arguments["service_id"]
    identity = _identity(call, named)

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        try:
            host = await uow.hosts.get_by_id(identity)
        except errors.HostNotFound as error:
            raise errors.ServiceNotFound(service=named) from error
        await uow.hosts.remove(host.name)

    await call.parts.store.run(unit)


def _identity(call: api_call.Call, named: str) -> int | str:
    if call.version >= _BY_UUID_FROM:
        return _uuid(named)
    if not (named.isascii() and named.isdigit() and len(named) < 10):
        raise faults.bad_request(f"id must be an integer, not {named}. Send the id that GET /os-services shows at this microversion.")
    return int(named)


def _uuid(named: str) -> str:
    if not finding.is_uuid(named):
        raise faults.bad_request(f"Invalid uuid {named}. Send the id that GET /os-services shows at microversion 2.53 and later.")
    return named.lower()


def _shown(call: api_call.Call, host: model.Host) -> view.ShownService:
    is_up = model.is_up(host, call.parts.clock.now(), call.parts.config.default.service_down_time_seconds)
    return view.ShownService(host=host, is_up=is_up)
