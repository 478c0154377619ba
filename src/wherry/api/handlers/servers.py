# SPDX-License-Identifier: Apache-2.0
"""Servers: lists and show. Read only."""

from __future__ import annotations

import dataclasses

from wherry.api import call as api_call
from wherry.api.handlers import finding, server_filters
from wherry.api.views import servers as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import hosts as host_rows
from wherry.model import host as host_model
from wherry.model import server as server_model


async def list_servers(call: api_call.Call) -> view.ServerPage:
    """Give one page of servers, for both lists."""
    query = server_filters.query_of(call)
    if query is None or query.limit == 0:
        return view.ServerPage(servers=(), hosts={}, up=frozenset(), limit=finding.limit_of(call))
    is_detailed = call.address.path.endswith("/detail")

    zone = server_filters.zone_of(call)

    async def unit(uow: wherry_uow.UnitOfWork) -> tuple[list[server_model.Server], list[host_model.Host]]:
        asked = query
        if zone is not None:
            asked = dataclasses.replace(query, hosts=[host.name for host in await uow.hosts.list() if host.zone == zone])
        servers = await uow.servers.list(asked)
        names = sorted({server.host for server in servers if server.host}) if is_detailed else []
        return servers, await uow.hosts.list(host_rows.HostQuery(names=names)) if names else []

    servers, hosts = await call.parts.store.read(unit)
    return view.ServerPage(
        servers=servers,
        hosts={host.name: host for host in hosts},
        up=frozenset(host.name for host in hosts if _is_up(call, host)),
        limit=finding.limit_of(call),
    )


async def show_server(call: api_call.Call) -> view.ShownServer:
    """Give one server."""

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownServer:
        return await shown(uow, call, await finding.server_of(uow, call))

    return await call.parts.store.read(unit)


async def shown(uow: wherry_uow.UnitOfWork, call: api_call.Call, server: server_model.Server) -> view.ShownServer:
    """Give a server with what is shown around it."""
    host = None
    if server.host:
        hosts = await uow.hosts.list(host_rows.HostQuery(names=[server.host]))
        host = hosts[0] if hosts else None
    group = await uow.server_groups.group_of(server.uuid) if call.version >= view.GROUPS_FROM else None
    return view.ShownServer(server=server, host=host, is_host_up=host is not None and _is_up(call, host), group=group)


def _is_up(call: api_call.Call, host: host_model.Host) -> bool:
    return host_model.is_up(host, call.parts.clock.now(), call.parts.config.default.service_down_time_seconds)
