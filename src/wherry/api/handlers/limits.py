# SPDX-License-Identifier: Apache-2.0
"""Limits: what a project uses. Wherry sets none, because it makes no servers. Read only."""

from __future__ import annotations

from wherry.api import call as api_call
from wherry.api.views import limits as view
from wherry.db import uow as wherry_uow
from wherry.policies import limits as policies


async def show_limits(call: api_call.Call) -> view.Used:
    """Give what the caller's project uses, or the one that an administrator names."""
    asked = call.query.one("tenant_id")
    if asked is not None:
        call.require(policies.OTHER_PROJECT, asked)
    project_id = asked or call.caller.project_id

    async def unit(uow: wherry_uow.UnitOfWork) -> view.Used:
        return view.Used(totals=await uow.servers.totals(project_id), server_groups=await uow.server_groups.count(project_id))

    return await call.parts.store.read(unit)
