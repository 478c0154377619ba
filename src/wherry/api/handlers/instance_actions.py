# SPDX-License-Identifier: Apache-2.0
"""Instance actions: list, and show with events. Read only."""

from __future__ import annotations

from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.views import instance_actions as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import actions as action_rows
from wherry.model import instance_actions as model

#: First version that shows the actions of deleted servers.
_WITH_DELETED_FROM = (2, 21)


async def list_actions(call: api_call.Call) -> view.ActionPage:
    """Give one page of a server's actions, newest first."""
    since, before = call.query.time("changes-since"), call.query.time("changes-before")
    if since is not None and before is not None and before < since:
        raise faults.bad_request("The value of changes-since must be less than or equal to changes-before.")
    limit = finding.limit_of(call)

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.InstanceAction]:
        server = await finding.server_of(uow, call, include_deleted=call.version >= _WITH_DELETED_FROM)
        if limit == 0:
            return []
        return await uow.actions.list(
            action_rows.ActionQuery(
                instance_uuid=server.uuid, changes_since=since, changes_before=before, limit=limit, marker=call.query.one("marker")
            )
        )

    return view.ActionPage(actions=await call.parts.store.read(unit), limit=limit)


async def show_action(call: api_call.Call) -> view.ShownAction:
    """Give one action with its events."""

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownAction:
        server = await finding.server_of(uow, call, include_deleted=call.version >= _WITH_DELETED_FROM)
        action = await uow.actions.get(server.uuid, call.arguments["request_id"].replace("\x00", ""))
        return view.ShownAction(action=action, project_id=server.project_id)

    return await call.parts.store.read(unit)
