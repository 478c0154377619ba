# SPDX-License-Identifier: Apache-2.0
"""What ties a server to places, whatever moves it: its group and its zone. Reads records."""

from __future__ import annotations

import dataclasses

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
