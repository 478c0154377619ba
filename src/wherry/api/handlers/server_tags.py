# SPDX-License-Identifier: Apache-2.0
"""A server's tags: list, ask for one, replace, add, take away. Lists of servers are filtered by them; nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding, readiness, recording
from wherry.api.schemas import server_tags as schemas
from wherry.db import uow as wherry_uow
from wherry.model import server as server_model

Tags = tuple[str, ...]

_ALLOWED = (
    server_model.VmState.ACTIVE,
    server_model.VmState.PAUSED,
    server_model.VmState.SUSPENDED,
    server_model.VmState.STOPPED,
)


async def list_tags(call: api_call.Call) -> Tags:
    """Give all of them."""

    async def unit(uow: wherry_uow.UnitOfWork) -> Tags:
        return (await finding.server_of(uow, call)).tags

    return await call.parts.store.read(unit)


async def check_tag(call: api_call.Call) -> None:
    """Say whether the server has the tag that the path names."""
    _require_tag(await list_tags(call), call)


async def replace_tags(call: api_call.Call) -> Tags:
    """Have these tags and no others."""
    sent = cast("dict[str, Any]", call.body)["tags"]
    return await _change(call, lambda _: tuple(dict.fromkeys(sent)))


async def add_tag(call: api_call.Call) -> None:
    """Add the tag that the path names; one that is there stays."""
    tag = call.arguments["tag"]
    if not 0 < len(tag) <= schemas.LONGEST or "," in tag:
        raise faults.bad_request(f"Invalid tag {tag!r}. Send 1 to {schemas.LONGEST} characters without a comma or slash.")

    def with_tag(tags: Tags) -> Tags:
        if tag not in tags and len(tags) >= schemas.MOST:
            raise faults.bad_request(f"The number of tags exceeded the per-server limit {schemas.MOST}")
        return tags if tag in tags else (*tags, tag)

    await _change(call, with_tag)


async def delete_tags(call: api_call.Call) -> None:
    """Take all tags away."""
    await _change(call, lambda _: ())


async def delete_tag(call: api_call.Call) -> None:
    """Take the tag away that the path names."""

    def without(tags: Tags) -> Tags:
        _require_tag(tags, call)
        return tuple(tag for tag in tags if tag != call.arguments["tag"])

    await _change(call, without)


async def _change(call: api_call.Call, change: Callable[[Tags], Tags]) -> Tags:
    async def unit(uow: wherry_uow.UnitOfWork) -> Tags:
        server = await finding.server_of(uow, call)
        if server.vm_state not in _ALLOWED:
            raise readiness.wrong_vm_state(server, "tag", _ALLOWED)
        tags = change(server.tags)
        await uow.servers.update(server, tags=tags)
        return tags

    return await recording.record(call, unit)


def _require_tag(tags: Tags, call: api_call.Call) -> None:
    tag = call.arguments["tag"]
    if tag not in tags:
        raise errors.ServerTagNotFound(uuid=call.arguments["server_id"], tag=tag)
