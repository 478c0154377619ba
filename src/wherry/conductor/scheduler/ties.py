# SPDX-License-Identifier: Apache-2.0
"""What ties a server to places, whatever moves it: its group and its zone. Reads records."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from wherry.db import uow as uows
from wherry.model import server_group


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ties:
    """Of one server."""

    #: Where the other servers of its group are; None = it is in none.
    neighbours: server_group.Neighbours | None
    #: Availability zone to which it is pinned; None = any.
    zone: str | None


async def of(uow: uows.UnitOfWork, instance_uuid: str) -> Ties:
    """Read them."""
    return Ties(neighbours=await uow.server_groups.neighbours_of(instance_uuid), zone=(await uow.servers.get(instance_uuid)).pinned_zone)


async def of_all(uow: uows.UnitOfWork, instance_uuids: Sequence[str]) -> dict[str, Ties]:
    """Read those of many, in two statements where none of them is in a group; a server that is not known is left out."""
    grouped = await uow.server_groups.members_among(instance_uuids)
    zones = await uow.servers.zones_of(instance_uuids)
    found: dict[str, Ties] = {}
    for uuid in instance_uuids:
        if uuid in zones:
            neighbours = await uow.server_groups.neighbours_of(uuid) if uuid in grouped else None
            found[uuid] = Ties(neighbours=neighbours, zone=zones[uuid])
    return found
