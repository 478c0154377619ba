# SPDX-License-Identifier: Apache-2.0
"""Hypervisors: lists, show, and what older microversions ask of them: search, servers, uptime, statistics. Read only."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import hypervisors as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import hosts as host_rows
from wherry.model import host as model
from wherry.model import server as server_model

_BY_UUID_FROM = (2, 53)
#: By the host's name.
_Servers = dict[str, list[server_model.Server]]


async def list_hypervisors(call: api_call.Call) -> view.HypervisorPage:
    """Give one page, for both lists."""
    query = _query_of(call)
    limit = finding.limit_of(call)

    async def unit(uow: wherry_uow.UnitOfWork) -> tuple[list[model.Host], _Servers | None]:
        hosts = await uow.hosts.list(query) if query.limit != 0 else []
        servers = await uow.servers.on_hosts([host.name for host in hosts]) if _wants_servers(call) else None
        return hosts, servers

    hosts, servers = await call.parts.store.read(unit)
    if query.hypervisor_hostname_part is not None and not hosts:
        raise errors.NotFound(what="Hypervisor matching", name=query.hypervisor_hostname_part)
    return view.HypervisorPage(hypervisors=[_shown(call, host, servers) for host in hosts], limit=limit)


async def show_hypervisor(call: api_call.Call) -> view.ShownHypervisor:
    """Give one hypervisor, named by its number up to 2.52 and by its uuid from then on."""
    named = call.arguments["hypervisor_id"]
    identity = _identity(call, named)

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownHypervisor:
        try:
            host = await uow.hosts.get_by_id(identity)
        except errors.HostNotFound as error:
            raise errors.NotFound(what="Compute host", name=named) from error
        servers = await uow.servers.on_hosts([host.name]) if _wants_servers(call) else None
        return _shown(call, host, servers)

    return await call.parts.store.read(unit)


async def search_hypervisors(call: api_call.Call) -> list[view.ShownHypervisor]:
    """Give the hypervisors whose host name has the named part, with their servers where the path ends in that (up to 2.52)."""
    part = call.arguments["hypervisor_id"]
    is_with_servers = call.address.path.endswith("/servers")

    async def unit(uow: wherry_uow.UnitOfWork) -> tuple[list[model.Host], _Servers | None]:
        hosts = await uow.hosts.list(host_rows.HostQuery(hypervisor_hostname_part=part))
        return hosts, await uow.servers.on_hosts([host.name for host in hosts]) if is_with_servers else None

    hosts, servers = await call.parts.store.read(unit)
    if not hosts:
        raise errors.NotFound(what="Hypervisor matching", name=f"'{part}'")
    return [_shown(call, host, servers) for host in hosts]


async def show_uptime(call: api_call.Call) -> view.ShownHypervisor:
    """Give one hypervisor of which it is known how long it has been up (up to 2.87)."""
    shown = await show_hypervisor(call)
    if not shown.is_up:
        raise faults.bad_request(f"Host {shown.host.name} is down: ask again when its agent is back.")
    if shown.uptime_seconds is None:
        raise errors.Unsupported(what="Asking a hypervisor for its uptime", driver=shown.host.description.driver)
    return shown


async def add_up(call: api_call.Call) -> list[model.Host]:
    """Give the hypervisors that statistics add up: those that are not disabled, as in Nova (up to 2.87)."""

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.Host]:
        return await uow.hosts.list(host_rows.HostQuery(is_disabled=False))

    return await call.parts.store.read(unit)


def _query_of(call: api_call.Call) -> host_rows.HostQuery:
    query = call.query
    pattern, marker = query.one("hypervisor_hostname_pattern"), query.one("marker")
    if pattern is not None and (query.one("limit") is not None or marker is not None):
        raise faults.bad_request(
            "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported. "
            "Send either that, or limit and marker."
        )
    return host_rows.HostQuery(
        hypervisor_hostname_part=pattern,
        # Nova lists all of them below 2.33.
        limit=finding.limit_of(call) if call.version >= (2, 33) and pattern is None else None,
        marker=None if marker is None else _marker(call, marker),
    )


def _marker(call: api_call.Call, marker: str) -> int | str:
    try:
        return _identity(call, marker)
    except (errors.NotFound, faults.HttpFault):
        raise errors.MarkerNotFound(marker=marker) from None


def _identity(call: api_call.Call, named: str) -> int | str:
    if call.version >= _BY_UUID_FROM:
        if not finding.is_uuid(named):
            raise faults.bad_request(f"Invalid uuid {named}. Send the id that GET /os-hypervisors shows at this microversion.")
        return named.lower()
    if not (named.isascii() and named.isdigit() and len(named) < 10):
        raise errors.NotFound(what="Hypervisor with ID", name=f"'{named}'")
    return int(named)


def _wants_servers(call: api_call.Call) -> bool:
    return parameter_types.as_bool(call.query.one("with_servers"))


def _shown(call: api_call.Call, host: model.Host, servers: _Servers | None) -> view.ShownHypervisor:
    now = call.parts.clock.now()
    is_up = model.is_up(host, now, call.parts.config.default.service_down_time_seconds)
    # Of a host that is not heard of nobody knows whether its machine still runs.
    booted_at = host.booted_at if is_up else None
    return view.ShownHypervisor(
        host=host,
        is_up=is_up,
        servers=None if servers is None else servers.get(host.name, []),
        uptime_seconds=None if booted_at is None else (now - booted_at).total_seconds(),
    )
