# SPDX-License-Identifier: Apache-2.0
"""What a schedule calls guests and servers, and which they are. Knows nothing of what is done with them."""

from __future__ import annotations

from wherry.drivers import simulated

_UUID_LENGTH = 36


class Names:
    """The names of one run."""

    def __init__(self, world: simulated.World) -> None:
        self.world = world
        #: Uuids of servers that were made through the API, by what the schedule calls them.
        self.made: dict[str, str] = {}
        self._first = frozenset(one.spec.name for host in world.hosts.values() for one in host.guests.values())

    def uuid(self, name: str) -> str:
        """Give the uuid of the guest of that name, or made under it; a uuid is its own."""
        return self.made.get(name) or (name if len(name) == _UUID_LENGTH else self.world.uuid_for("guest", name))

    def name_of(self, uuid: str) -> str:
        """Give what the schedule calls a guest; its uuid where nobody learnt of it."""
        made = next((name for name, one in self.made.items() if one == uuid), None)
        found = next((host.guests[uuid].spec.name for host in self.world.hosts_of(uuid)), uuid)
        return made or (found if self.world.uuid_for("guest", found) == uuid else uuid)

    def is_known(self, name: str) -> bool:
        """Whether there is such a host or guest, or a server was made under that name."""
        return not name or name in self.world.hosts or name in self.made or name in self._first or len(name) == _UUID_LENGTH
