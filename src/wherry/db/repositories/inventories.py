# SPDX-License-Identifier: Apache-2.0
"""How far the inventories of hosts have been taken in, read and raised for many hosts at once. Compares no guest with any record."""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from wherry.db import schema
from wherry.db import session as sessions

_T = schema.hosts
_D = schema.disputes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a host's agent has told of its guests until now."""

    name: str
    incarnation: str
    #: Of the latest inventory that was taken in.
    sequence: int
    #: Name that the host's hypervisor has for itself.
    node: str
    #: Whether it says to have guests that are recorded elsewhere.
    has_disputes: bool


_TOLD = sa.select(
    _T.c.name,
    _T.c.incarnation,
    _T.c.inventory_sequence.label("sequence"),
    _T.c.hypervisor_hostname.label("node"),
    sa.exists().where(_D.c.host == _T.c.name).label("has_disputes"),
).where(_T.c.name.in_(sa.bindparam("names", expanding=True)))
# By name, so that two conductors lock them in one order.
_LOCKED = (
    sa.select(_T.c.name, _T.c.incarnation, _T.c.inventory_sequence.label("sequence"))
    .where(_T.c.name.in_(sa.bindparam("names", expanding=True)))
    .order_by(_T.c.name)
    .with_for_update(key_share=True)
)
# Only from what was read: whatever was taken in since may have changed what the inventory was compared with.
_RAISE = (
    sa.update(_T)
    .where(
        _T.c.name == sa.bindparam("of_name"),
        _T.c.incarnation == sa.bindparam("of_incarnation"),
        _T.c.inventory_sequence == sa.bindparam("of_sequence"),
    )
    .values(inventory_sequence=sa.bindparam("new_sequence"), last_seen_at=sa.bindparam("at"))
)


class Inventories:
    """The numbers of the inventories."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def told(self, names: Sequence[str]) -> dict[str, Told]:
        """Give how far those of several hosts were taken in, by host, in one query."""
        rows = await self._session.rows(_TOLD, {"names": builtins.list(names)})
        return {row.name: Told(**row._mapping) for row in rows}

    async def accept_next(self, following: Sequence[tuple[Told, int]]) -> set[str]:
        """Record that one more of each host is taken in, and changes nothing else; gives the hosts that were as they were read.

        One statement for one host, else two.
        :param following: what was read of a host, and the number of its inventory.
        """
        if len(following) == 1:
            told, _ = following[0]
            return {told.name} if await self._session.change(_RAISE, self._raising(*following[0])) == 1 else set()
        # An update of many rows at once tells no count.
        rows = await self._session.rows(_LOCKED, {"names": [told.name for told, _ in following]})
        locked = {row.name: (row.incarnation, row.sequence) for row in rows}
        current = [one for one in following if locked.get(one[0].name) == (one[0].incarnation, one[0].sequence)]
        if current:
            await self._session.connection.execute(_RAISE, [self._raising(*one) for one in current])
        return {told.name for told, _ in current}

    def _raising(self, told: Told, sequence: int) -> dict[str, object]:
        was = {"of_name": told.name, "of_incarnation": told.incarnation, "of_sequence": told.sequence}
        return was | {"new_sequence": sequence, "at": self._session.now}
