# SPDX-License-Identifier: Apache-2.0
"""Server groups: list, show, make, delete; and who is in them, which Nova fixes when servers are made and Wherry takes from 2.1000 on."""

from __future__ import annotations

from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.db import uow as wherry_uow
from wherry.db.repositories import server_groups as group_rows
from wherry.model import server_group as model
from wherry.policies import server_groups as policies


async def list_groups(call: api_call.Call) -> list[model.ServerGroup]:
    """Give one page: of the caller's project, or of all where an administrator asks for that."""
    is_of_all = call.query.one("all_projects") is not None and call.allows(policies.INDEX_ALL_PROJECTS)
    limit, offset = finding.limit_of(call), int(call.query.one("offset") or 0)

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.ServerGroup]:
        return await uow.server_groups.list(None if is_of_all else call.caller.project_id, limit=limit, offset=offset)

    return await call.parts.store.read(unit)


async def show_group(call: api_call.Call) -> model.ServerGroup:
    """Give one group."""

    async def unit(uow: wherry_uow.UnitOfWork) -> model.ServerGroup:
        return await _group_of(uow, call)

    return await call.parts.store.read(unit)


async def create_group(call: api_call.Call) -> model.ServerGroup:
    """Make a group of the caller's project, without members."""
    asked = cast("dict[str, Any]", call.body)["server_group"]
    policy = model.Policy(asked["policy"] if call.version >= (2, 64) else asked["policies"][0])
    rules = asked.get("rules") or {}
    if rules and policy is not model.Policy.ANTI_AFFINITY:
        raise faults.bad_request("Only anti-affinity policy supports rules.")
    most = int(rules.get("max_server_per_host", 1))
    if most < 1:
        raise faults.bad_request(f"Invalid input for field/attribute max_server_per_host. Value: {most}. Send 1 or more.")
    caller = call.caller
    new = group_rows.NewGroup(
        name=asked["name"], project_id=caller.project_id, user_id=caller.user_id, policy=policy, max_servers_per_host=most
    )

    async def unit(uow: wherry_uow.UnitOfWork) -> model.ServerGroup:
        return await uow.server_groups.create(new)

    return await call.parts.store.run(unit)


async def delete_group(call: api_call.Call) -> None:
    """Delete a group; its servers are in none then."""

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        await uow.server_groups.delete(await _group_of(uow, call))

    await call.parts.store.run(unit)


async def add_server(call: api_call.Call) -> model.ServerGroup:
    """Put a server into a group. It may be where the policy would not let it go: the group says what shall be, migrations keep to it."""

    async def unit(uow: wherry_uow.UnitOfWork) -> model.ServerGroup:
        group = await _group_of(uow, call)
        uuid = _server_id(call)
        try:
            server = await uow.servers.get(uuid)
        except errors.ServerNotFound as error:
            raise faults.bad_request(error.message) from error
        if server.project_id != group.project_id:
            # As if it were not there, unless the caller sees all projects and may be told.
            raise faults.bad_request(errors.ServerNotFound(uuid=uuid).message)
        await uow.server_groups.add(group, uuid)
        return await uow.server_groups.get(group.uuid)

    return await call.parts.store.run(unit)


async def remove_server(call: api_call.Call) -> model.ServerGroup:
    """Take a server out of a group; one that is not in it stays out."""

    async def unit(uow: wherry_uow.UnitOfWork) -> model.ServerGroup:
        group = await _group_of(uow, call)
        await uow.server_groups.remove(group, _server_id(call))
        return await uow.server_groups.get(group.uuid)

    return await call.parts.store.run(unit)


def _server_id(call: api_call.Call) -> str:
    return str(cast("dict[str, Any]", call.body)["server"]).lower()


async def _group_of(uow: wherry_uow.UnitOfWork, call: api_call.Call) -> model.ServerGroup:
    """Find the group that the path names, then ask the route's rule about its project.

    :raises ServerGroupNotFound: it is not known, or belongs to a project that is no business of the caller's
    """
    named = call.arguments["group_id"]
    not_found = errors.ServerGroupNotFound(uuid=named)
    if not finding.is_uuid(named):
        raise not_found
    try:
        group = await uow.server_groups.get(named.lower())
    except errors.ServerGroupNotFound as error:
        raise not_found from error
    if group.project_id != call.caller.project_id and not call.caller.is_admin:
        raise not_found
    call.authorize(group.project_id)
    return group
