# SPDX-License-Identifier: Apache-2.0
"""Server groups and their members; and where the neighbours of a server are. What a policy forbids is model/server_group.py's word."""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from wherry import errors
from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import server_group as model

_G = schema.server_groups
_M = schema.server_group_members
_S = schema.servers
_R = schema.migrations
_COLUMNS = sessions.columns_of(_G, model.ServerGroup, derived=frozenset({"members"}))
_MEMBERS_AMONG = sa.select(_M.c.instance_uuid).where(_M.c.instance_uuid.in_(sa.bindparam("instances", expanding=True)))
_GROUP_OF = sa.select(*_COLUMNS).join(_M, _M.c.group_id == _G.c.id).where(_M.c.instance_uuid == sa.bindparam("instance"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewGroup:
    """What is known of a group when it is made."""

    name: str
    project_id: str
    user_id: str
    policy: model.Policy
    max_servers_per_host: int = 1


class ServerGroups:
    """Records of server groups."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, uuid: str) -> model.ServerGroup:
        """Give one group with its members.

        :raises ServerGroupNotFound: there is none.
        """
        found = await self._records(sa.select(*_COLUMNS).where(_G.c.uuid == uuid))
        if not found:
            raise errors.ServerGroupNotFound(uuid=uuid)
        return found[0]

    async def list(self, project_id: str | None, *, limit: int, offset: int) -> builtins.list[model.ServerGroup]:
        """Give the groups of a project, or of all, in the order in which they were made."""
        statement = sa.select(*_COLUMNS).order_by(_G.c.id).limit(limit).offset(offset)
        return await self._records(statement if project_id is None else statement.where(_G.c.project_id == project_id))

    async def count(self, project_id: str) -> int:
        """Count the groups of a project."""
        row = await self._session.row(sa.select(sa.func.count().label("groups")).where(_G.c.project_id == project_id))
        return int(row.groups) if row is not None else 0

    async def create(self, new: NewGroup) -> model.ServerGroup:
        """Make a group without members."""
        values = {field.name: getattr(new, field.name) for field in dataclasses.fields(new)}
        statement = sa.insert(_G).values(**values, uuid=self._session.new_uuid(), created_at=self._session.now).returning(*_COLUMNS)
        row = (await self._session.connection.execute(statement)).one()
        return model.ServerGroup(**row._mapping)

    async def delete(self, group: model.ServerGroup) -> None:
        """Forget a group; its servers are in none then."""
        await self._session.change(sa.delete(_M).where(_M.c.group_id == group.id))
        await self._session.change(sa.delete(_G).where(_G.c.id == group.id))

    async def group_of(self, instance_uuid: str) -> str | None:
        """Give the uuid of the group that a server is in."""
        row = await self._session.row(_GROUP_OF, {"instance": instance_uuid})
        return None if row is None else row.uuid

    async def add(self, group: model.ServerGroup, instance_uuid: str) -> None:
        """Put a server into a group; one that is in it already stays.

        :raises ServerInOtherGroup: it is in another one.
        """
        await self._session.change(self._session.dialect.insert_ignoring(_M).values(group_id=group.id, instance_uuid=instance_uuid))
        other = await self.group_of(instance_uuid)
        if other != group.uuid:
            raise errors.ServerInOtherGroup(uuid=instance_uuid, group=other)

    async def remove(self, group: model.ServerGroup, instance_uuid: str) -> None:
        """Take a server out of a group; one that is not in it stays out."""
        await self._session.change(sa.delete(_M).where(_M.c.group_id == group.id, _M.c.instance_uuid == instance_uuid))

    async def members_among(self, instance_uuids: Sequence[str]) -> set[str]:
        """Give those of the servers that are in a group."""
        rows = await self._session.rows(_MEMBERS_AMONG, {"instances": list(instance_uuids)})
        return {row.instance_uuid for row in rows}

    async def neighbours_of(self, instance_uuid: str) -> model.Neighbours | None:
        """Say where the other members of a server's group are, and where migrations are taking them; None when it is in no group."""
        group = await self._session.row(_GROUP_OF, {"instance": instance_uuid})
        if group is None:
            return None
        others = sa.select(_M.c.instance_uuid).where(_M.c.group_id == group.id, _M.c.instance_uuid != instance_uuid)
        # UNION drops doubles: a server that has arrived is on its way to the same host until the record is closed.
        places = sa.union(
            sa.select(_S.c.uuid, _S.c.host).where(_S.c.uuid.in_(others), _S.c.host.is_not(None), _S.c.deleted_at.is_(None)),
            sa.select(_R.c.instance_uuid, _R.c.dest_compute).where(
                _R.c.instance_uuid.in_(others), _R.c.dest_compute.is_not(None), _R.c.finished_at.is_(None)
            ),
        )
        on_hosts: dict[str, int] = {}
        for row in await self._session.rows(places):
            on_hosts[row.host] = on_hosts.get(row.host, 0) + 1
        return model.Neighbours(group=group.uuid, policy=group.policy, max_servers_per_host=group.max_servers_per_host, on_hosts=on_hosts)

    async def _records(self, statement: sa.Select[tuple[object, ...]]) -> builtins.list[model.ServerGroup]:
        rows = await self._session.rows(statement)
        members = await self._members([row.id for row in rows])
        return [model.ServerGroup(**row._mapping, members=tuple(members.get(row.id, ()))) for row in rows]

    async def _members(self, groups: Sequence[int]) -> dict[int, builtins.list[str]]:
        if not groups:
            return {}
        statement = (
            sa.select(_M.c.group_id, _M.c.instance_uuid)
            .join(_S, _S.c.uuid == _M.c.instance_uuid)
            .where(_M.c.group_id.in_(groups), _S.c.deleted_at.is_(None))
            .order_by(_M.c.id)
        )
        found: dict[int, builtins.list[str]] = {}
        for row in await self._session.rows(statement):
            found.setdefault(row.group_id, []).append(row.instance_uuid)
        return found
