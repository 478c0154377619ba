# SPDX-License-Identifier: Apache-2.0
"""A server's metadata: list, show, add, replace, delete. Kept as it is sent; no guest is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding, readiness, recording
from wherry.db import uow as wherry_uow
from wherry.model import server as server_model

Items = Mapping[str, str]

_ALLOWED = (
    server_model.VmState.ACTIVE,
    server_model.VmState.PAUSED,
    server_model.VmState.SUSPENDED,
    server_model.VmState.STOPPED,
)


async def list_metadata(call: api_call.Call) -> Items:
    """Give all items."""

    async def unit(uow: wherry_uow.UnitOfWork) -> Items:
        return (await finding.server_of(uow, call)).metadata

    return await call.parts.store.read(unit)


async def show_metadata(call: api_call.Call) -> Items:
    """Give the item that the path names."""
    key = call.arguments["key"]
    return {key: _of(await list_metadata(call), key)}


async def create_metadata(call: api_call.Call) -> Items:
    """Add items to those that are there; one that is there is replaced."""
    return await _change(call, "create_server_metadata", lambda items: {**items, **_sent(call, "metadata")})


async def replace_metadata(call: api_call.Call) -> Items:
    """Have these items and no others."""
    return await _change(call, "update_all_server_metadata", lambda _: _sent(call, "metadata"))


async def update_metadata(call: api_call.Call) -> Items:
    """Set the item that the path names."""
    key, sent = call.arguments["key"], _sent(call, "meta")
    if key not in sent:
        raise faults.bad_request("Request body and URI mismatch")
    await _change(call, "update_server_metadata", lambda items: {**items, **sent})
    return sent


async def delete_metadata(call: api_call.Call) -> None:
    """Delete the item that the path names."""
    gone = call.arguments["key"]

    def without(items: Items) -> Items:
        _of(items, gone)
        return {key: value for key, value in items.items() if key != gone}

    await _change(call, "delete_server_metadata", without)


async def _change(call: api_call.Call, method: str, change: Callable[[Items], Items]) -> Items:
    async def unit(uow: wherry_uow.UnitOfWork) -> Items:
        server = await finding.server_of(uow, call)
        items = change(server.metadata)
        require_room(call, items)
        await readiness.require(uow, call, server, method, _ALLOWED)
        await uow.servers.update(server, metadata=dict(items))
        return items

    return await recording.record(call, unit)


def require_room(call: api_call.Call, items: Items) -> None:
    """Make sure that a server may have as many.

    :raises HttpFault: 403, as Nova answers what a quota forbids
    """
    most = call.parts.config.api.max_server_metadata_items
    if len(items) > most:
        raise faults.HttpFault(403, f"A server has {most} items of metadata at most. Send fewer, or delete some.")


def _of(items: Items, key: str) -> str:
    if key not in items:
        raise errors.MetadataItemNotFound(key=key)
    return items[key]


def _sent(call: api_call.Call, name: str) -> dict[str, str]:
    return dict(cast("dict[str, Any]", call.body)[name])
