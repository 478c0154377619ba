# SPDX-License-Identifier: Apache-2.0
"""Changes what a server is called and how it is described. The record alone changes: no guest is told."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding, recording, servers
from wherry.api.views import servers as view
from wherry.db import uow as wherry_uow
from wherry.model import server as server_model

#: What the request that made a server said -> where it is kept.
_BORN_WITH = {"OS-DCF:diskConfig": "disk_config", "pinned_availability_zone": "zone"}
_ADDRESSES = {"accessIPv4": "access_ip_v4", "accessIPv6": "access_ip_v6"}


async def update_server(call: api_call.Call) -> view.ShownServer:
    """Change it, and give it as it is then."""
    asked = cast("dict[str, Any]", call.body)["server"]

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownServer:
        server = await finding.server_of(uow, call)
        await _require_zone(uow, asked)
        changes = _changes(server, asked)
        return await servers.shown(uow, call, await uow.servers.update(server, **changes) if changes else server)

    return await recording.record(call, unit)


def _changes(server: server_model.Server, asked: dict[str, Any]) -> dict[str, Any]:
    """Say which columns change to what.

    :raises ServerFound: the server was found, and something is asked for that its host would contradict
    """
    plain = {name: asked[name] for name in ("name", "description", "hostname") if name in asked}
    born = {kept: asked[name] for name, kept in _BORN_WITH.items() if name in asked}
    born |= {kept: canonical(asked[name]) for name, kept in _ADDRESSES.items() if name in asked}
    if server.birth is None and (born or plain.keys() - {"description"}):
        raise errors.ServerFound(uuid=server.uuid)
    return plain | ({"birth": dataclasses.replace(server.birth, **born)} if born and server.birth is not None else {})


async def _require_zone(uow: wherry_uow.UnitOfWork, asked: dict[str, Any]) -> None:
    zone = asked.get("pinned_availability_zone")
    if zone is not None and zone not in {host.zone for host in await uow.hosts.list()}:
        raise faults.bad_request(
            f"The requested availability zone {zone} is not available. Name one of GET /os-availability-zone, or null."
        )


def canonical(address: str) -> str:
    """Write an address as RFC 5952 has it, which is how clients compare it; none stays none."""
    return str(ipaddress.ip_address(address)) if address else ""
