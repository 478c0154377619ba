# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of a server: what its record says. Asks no host; what only the hypervisor could count is null. Read only."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api.handlers import finding
from wherry.api.views import diagnostics as view
from wherry.db import uow as wherry_uow
from wherry.model import server as server_model


async def show_diagnostics(call: api_call.Call) -> view.Diagnosed:
    """Give the diagnostics of a running server."""

    async def unit(uow: wherry_uow.UnitOfWork) -> view.Diagnosed:
        server = await finding.server_of(uow, call)
        if server.power_state is not server_model.PowerState.RUNNING or server.host is None:
            raise errors.InstanceInvalidState(
                method="get_diagnostics", uuid=server.uuid, attribute="power_state", state=server.power_state.name.lower()
            )
        return view.Diagnosed(server=server, host=await uow.hosts.get(server.host))

    return await call.parts.store.read(unit)
