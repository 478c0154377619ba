# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of a server: what its record says, and what its host counts, where that answers. Read only."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api.handlers import finding
from wherry.api.views import diagnostics as view
from wherry.db import uow as wherry_uow
from wherry.model import guest
from wherry.model import host as host_model
from wherry.model import server as server_model
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


async def show_diagnostics(call: api_call.Call) -> view.Diagnosed:
    """Give the diagnostics of a running server; of a host that does not answer, only what is recorded."""

    async def unit(uow: wherry_uow.UnitOfWork) -> tuple[server_model.Server, host_model.Host]:
        server = await finding.server_of(uow, call)
        if server.power_state is not server_model.PowerState.RUNNING or server.host is None:
            raise errors.InstanceInvalidState(
                method="get_diagnostics",
                uuid=server.uuid,
                attribute="power_state",
                state=server.power_state.name.lower(),
                instead="Ask while it runs.",
            )
        return server, await uow.hosts.get(server.host)

    server, host = await call.parts.store.read(unit)
    now = call.parts.clock.now()
    usage = None
    if host_model.is_up(host, now, call.parts.config.default.service_down_time_seconds):
        usage = await _usage_of(call, server)
    uptime = None if server.launched_at is None else (now - server.launched_at).total_seconds()
    return view.Diagnosed(server=server, host=host, usage=usage, uptime_seconds=uptime)


async def _usage_of(call: api_call.Call, server: server_model.Server) -> guest.Usage | None:
    try:
        return (await call.parts.rpc.call(addresses.conductor(), messages.MeasureServer(instance_uuid=server.uuid))).usage
    except errors.Error as error:
        _log.info("A guest could not be measured.", instance_uuid=server.uuid, host=server.host, slug=error.slug, error=error.message)
        return None
