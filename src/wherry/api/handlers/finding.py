# SPDX-License-Identifier: Apache-2.0
"""What handlers look up first: the server that a path names, with the caller held to the route's rule; flavors; the size of a page."""

from __future__ import annotations

import re

from wherry import errors
from wherry.api import call as api_call
from wherry.db import uow as wherry_uow
from wherry.model import flavor as flavor_model
from wherry.model import server as server_model
from wherry.policies import flavors as flavor_policies

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def is_uuid(text: str) -> bool:
    """Say whether a text can be the uuid of anything."""
    return _UUID.fullmatch(text.lower()) is not None


async def server_of(uow: wherry_uow.UnitOfWork, call: api_call.Call, *, include_deleted: bool = False) -> server_model.Server:
    """Find the server that the path names, then ask the route's rule about its project.

    :raises ServerNotFound: it is not known, or belongs to a project that is no business of the caller's
    :raises Forbidden: the rule says no
    """
    named = call.arguments["server_id"]
    if not is_uuid(named):
        raise errors.ServerNotFound(uuid=named)
    server = await uow.servers.get(named.lower(), include_deleted=include_deleted)
    if server.project_id != call.caller.project_id and not call.caller.is_admin:
        raise errors.ServerNotFound(uuid=named)
    call.authorize(server.project_id)
    return server


def flavor_id_of(call: api_call.Call) -> str:
    """Give the id of the flavor that the path names.

    :raises FlavorNotFound: it can be none's
    """
    named = call.arguments["flavor_id"]
    if not flavor_model.is_id(named):
        raise errors.FlavorNotFound(flavor=named)
    return named


async def flavor_of(uow: wherry_uow.UnitOfWork, call: api_call.Call, named: str) -> flavor_model.Flavor:
    """Find a flavor that was made, or one that tells a size.

    :raises FlavorNotFound: it is neither, or none that the caller sees
    """
    known = await uow.flavors.find(named) if flavor_model.is_id(named) else None
    flavor = known or flavor_model.read_size(named)
    if flavor is None or not (flavor.is_public or call.allows(flavor_policies.SEE_PRIVATE)):
        raise errors.FlavorNotFound(flavor=named)
    return flavor


def limit_of(call: api_call.Call) -> int:
    """Give how many items the answer may have at most."""
    most = call.parts.config.api.max_limit
    asked = call.query.one("limit")
    return most if asked is None else min(int(asked), most)
