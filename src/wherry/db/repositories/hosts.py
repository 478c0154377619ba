# SPDX-License-Identifier: Apache-2.0
"""Hosts: registration, liveness, the service's switches, and what servers and migrations take of them.

Whether a host is up is `model.host.is_up`'s word, from what is stored here.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import engine as engines
from wherry.db import schema
from wherry.db import session as sessions
from wherry.db.repositories import usage
from wherry.model import host as model

_T = schema.hosts
_M = schema.migrations
_C = schema.chores
_COLUMNS = sessions.columns_of(_T, model.Host, derived=frozenset({"usage"}))

_BY_NAME = sa.select(*_COLUMNS).where(_T.c.name == sa.bindparam("name"))
_BY_ID = sa.select(*_COLUMNS).where(_T.c.id == sa.bindparam("id"))
_BY_UUID = sa.select(*_COLUMNS).where(_T.c.uuid == sa.bindparam("id"))
_IN_ORDER = sa.select(*_COLUMNS).order_by(_T.c.id)
_LOCKED = _BY_NAME.with_for_update(key_share=True)
_NODE = sa.select(_T.c.hypervisor_hostname).where(_T.c.name == sa.bindparam("name"))
_DESCRIPTION = sa.select(_T.c.description).where(_T.c.name == sa.bindparam("name"))
_INCARNATIONS = sa.select(_T.c.name, _T.c.incarnation).where(_T.c.name.in_(sa.bindparam("names", expanding=True)))
_DESCRIBE = sa.update(_T).where(_T.c.name == sa.bindparam("of_name"), _T.c.hypervisor_uuid == sa.bindparam("of_hypervisor"))
_LOCK_CLUSTER = sa.select(schema.locks.c.name).where(schema.locks.c.name == schema.CLUSTER_LOCK).with_for_update()
_BY_HYPERVISOR = sa.select(_T.c.name).where(_T.c.hypervisor_uuid == sa.bindparam("hypervisor_uuid"))
_REGISTERED = sa.select(*_COLUMNS, _T.c.is_signed_off).where(_T.c.name == sa.bindparam("name")).with_for_update(key_share=True)
_REGISTER_AGAIN = sa.update(_T).where(_T.c.name == sa.bindparam("of_name"))
_BEAT = (
    sa.update(_T)
    .where(_T.c.name == sa.bindparam("beat_name"), _T.c.incarnation == sa.bindparam("beat_incarnation"))
    .values(last_seen_at=sa.bindparam("beat_at"))
)
_TAKE_IN = (
    sa.update(_T)
    .where(
        _T.c.name == sa.bindparam("of_name"),
        _T.c.incarnation == sa.bindparam("of_incarnation"),
        _T.c.inventory_sequence < sa.bindparam("of_sequence"),
    )
    .returning(_T.c.hypervisor_hostname)
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostQuery:
    """Which hosts a list shows; None = any. Ordered by id."""

    names: Sequence[str] | None = None
    #: A part of the hypervisor's host name.
    hypervisor_hostname_part: str | None = None
    is_disabled: bool | None = None
    limit: int | None = None
    #: id or uuid of the last host of the page before.
    marker: int | str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """What an agent says when it starts."""

    name: str
    incarnation: str
    description: model.HostDescription
    #: Incarnations found in the agent's own journal directory, whose lock proves that the processes that had it are dead.
    replaces: Collection[str] = frozenset()
    #: Availability zone of the host.
    zone: str = "nova"


class Hosts:
    """Records of hosts."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, name: str) -> model.Host:
        """Give one host.

        :raises HostNotFound: no agent ever registered it.
        """
        return await self._one(_BY_NAME, {"name": name})

    async def get_locked(self, name: str) -> model.Host:
        """Give one host, and keep others from claiming anything of it until this transaction ends.

        :raises HostNotFound: no agent ever registered it.
        """
        row = await self._session.row(_LOCKED, {"name": name})
        if row is None:
            raise errors.HostNotFound(host=name)
        # Counted by a statement of its own: one that waited for the lock would count what was there before it waited.
        taken = await usage.of_hosts(self._session, [name])
        return model.Host(**row._mapping, usage=taken.get(name, model.Usage()))

    async def get_by_id(self, host_id: int | str) -> model.Host:
        """Give a host by its integer id or its uuid.

        :raises HostNotFound: no host has it.
        """
        return await self._one(_BY_ID if isinstance(host_id, int) else _BY_UUID, {"id": host_id})

    async def node_of(self, name: str) -> str:
        """Give the name that a host's hypervisor has for itself.

        :raises HostNotFound: no agent ever registered it.
        """
        row = await self._session.row(_NODE, {"name": name})
        if row is None:
            raise errors.HostNotFound(host=name)
        return str(row.hypervisor_hostname)

    async def description_of(self, name: str) -> model.HostDescription:
        """Give what a host's agent said of it.

        :raises HostNotFound: no agent ever registered it.
        """
        row = await self._session.row(_DESCRIPTION, {"name": name})
        if row is None:
            raise errors.HostNotFound(host=name)
        description: model.HostDescription = row.description
        return description

    async def list(self, query: HostQuery = HostQuery()) -> builtins.list[model.Host]:
        """Give one page, usage included: two queries, however many hosts.

        :raises MarkerNotFound: no such host.
        """
        if query == HostQuery():
            return await self._records(_IN_ORDER, {})
        statement = _IN_ORDER
        if query.names is not None:
            statement = statement.where(_T.c.name.in_(query.names))
        if query.hypervisor_hostname_part is not None:
            statement = statement.where(_T.c.hypervisor_hostname.contains(query.hypervisor_hostname_part, autoescape=True))
        if query.is_disabled is not None:
            statement = statement.where(_T.c.is_disabled == query.is_disabled)
        if query.marker is not None:
            marker = await self._session.row(sa.select(_T.c.id).where(_has_id(query.marker)))
            if marker is None:
                raise errors.MarkerNotFound(marker=str(query.marker))
            statement = statement.where(_T.c.id > marker.id)
        if query.limit is not None:
            statement = statement.limit(query.limit)
        return await self._records(statement)

    async def register(self, registration: Registration, down_time_seconds: float) -> model.Host:
        """Record that an agent started; its incarnation replaces the one before. The answer counts no usage.

        :param down_time_seconds: silence after which a predecessor counts as gone.
        :raises HostRefused: the hypervisor is registered under another name, or the predecessor under this name still beats.
            The field retry_after_seconds says when silence will have proven it dead; absent, waiting does not help.
        """
        # Two registrations at once would both find the name free.
        await self._session.rows(_LOCK_CLUSTER, {})
        description = registration.description
        row = await self._session.row(_BY_HYPERVISOR, {"hypervisor_uuid": description.hypervisor_uuid})
        if row is not None and row.name != registration.name:
            raise errors.HostRefused(
                host=registration.name,
                problem=f"its hypervisor {description.hypervisor_uuid} is registered as {row.name}",
                instead=f"Start its agent under the name {row.name}, or give the machine a UUID of its own.",
            )
        await self._put(registration, down_time_seconds)
        row = (await self._session.connection.execute(_BY_NAME, {"name": registration.name})).one()
        return model.Host(**row._mapping, usage=model.Usage())

    async def _put(self, registration: Registration, down_time_seconds: float) -> None:
        now = self._session.now
        name, incarnation, description = registration.name, registration.incarnation, registration.description
        values: dict[str, Any] = {
            "hypervisor_uuid": description.hypervisor_uuid,
            "hypervisor_hostname": description.hypervisor_hostname,
            "description": description,
            "incarnation": incarnation,
            "last_seen_at": now,
            "is_signed_off": False,
            "booted_at": _booted_at(description, now),
            "zone": registration.zone,
        }
        known = await self._session.row(_REGISTERED, {"name": name})
        if known is None:
            values |= {"name": name, "uuid": self._session.new_uuid(), "created_at": now}
            await self._session.change(sa.insert(_T).values(**values))
            return
        if known.incarnation != incarnation:
            _refuse_while_alive(known, registration, now, down_time_seconds)
            values["inventory_sequence"] = 0
        await self._session.change(_REGISTER_AGAIN, {"of_name": name, **values, "updated_at": now})

    async def sign_off(self, name: str, incarnation: str) -> bool:
        """Record that an agent ends of its own will: its successor may register at once. False: it is not the current one."""
        statement = sa.update(_T).where(_T.c.name == name, _T.c.incarnation == incarnation).values(is_signed_off=True)
        return await self._session.change(statement) == 1

    async def heartbeats(self, beats: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Record that many agents live, pairs of name and incarnation, in one statement; give those that are current."""
        # By name, so that two conductors lock them in one order.
        parameters = [{"beat_name": name, "beat_incarnation": own, "beat_at": self._session.now} for name, own in sorted(beats)]
        if parameters:
            await self._session.connection.execute(_BEAT, parameters)
        known = await self._session.rows(_INCARNATIONS, {"names": [name for name, _ in beats]})
        return {(row.name, row.incarnation) for row in known} & set(beats)

    async def accept_inventory(self, name: str, incarnation: str, sequence: int) -> str | None:
        """Record that an inventory is taken in; gives the name that the host's hypervisor has for itself.

        None: it is late (a newer one was taken, or the agent has a successor); drop it.
        """
        where = {"of_name": name, "of_incarnation": incarnation, "of_sequence": sequence}
        row = await self._session.row(_TAKE_IN, where | {"inventory_sequence": sequence, "last_seen_at": self._session.now})
        return None if row is None else str(row.hypervisor_hostname)

    async def update_service(
        self, name: str, *, is_disabled: bool | None = None, disabled_reason: str | None = None, is_forced_down: bool | None = None
    ) -> model.Host:
        """Turn the service's switches; None leaves one as it is. Enabling clears the reason.

        :raises HostNotFound: no agent ever registered it.
        """
        values: dict[str, Any] = {"updated_at": self._session.now}
        if is_disabled is not None:
            values |= {"is_disabled": is_disabled, "disabled_reason": disabled_reason if is_disabled else None}
        if is_forced_down is not None:
            values["is_forced_down"] = is_forced_down
        if await self._session.change(sa.update(_T).where(_T.c.name == name).values(**values)) != 1:
            raise errors.HostNotFound(host=name)
        return await self.get(name)

    async def update_description(self, name: str, description: model.HostDescription) -> None:
        """Store what the driver says of its host now.

        :raises HostNotFound: no agent ever registered it.
        """
        now = self._session.now
        values = {
            "description": description,
            "hypervisor_hostname": description.hypervisor_hostname,
            "booted_at": _booted_at(description, now),
            "updated_at": now,
        }
        # The UUID is what registration proved; a host that changes it registers anew.
        where = {"of_name": name, "of_hypervisor": description.hypervisor_uuid}
        if await self._session.change(_DESCRIBE, where | values) != 1:
            raise errors.HostNotFound(host=name)

    async def remove(self, name: str) -> None:
        """Forget a host that has no servers, takes part in no migration and is owed nothing.

        What a host is owed that was called dead stays owed to a host of that name, should it ever register again.
        :raises HostNotFound: no agent ever registered it.
        :raises HostInUse: it has servers; is the source or destination of a migration that has not ended, one that waits to be confirmed or
            reverted included; or is owed its cleaning, and nobody has said that it is dead.
        """
        # A migration takes this lock before it names a destination.
        await self._session.rows(_LOCK_CLUSTER, {})
        host = await self.get(name)
        if host.usage.servers:
            raise errors.HostInUse(host=name, what="is hosting instances", instead="Move the servers away first.")
        is_end = sa.or_(_M.c.source_compute == name, _M.c.dest_compute == name)
        if await self._session.row(sa.select(_M.c.id).where(_M.c.finished_at.is_(None), is_end).limit(1)) is not None:
            instead = "Wait for them, or abort them; confirm or revert those that are finished."
            raise errors.HostInUse(host=name, what="has in-progress migrations", instead=instead)
        is_owed = await self._session.row(sa.select(_C.c.id).where(_C.c.host == name).limit(1)) is not None
        if is_owed and not host.is_forced_down:
            instead = (
                "Let its agent run until `wherry status` shows nothing that it is owed, or force the service down if the host is gone."
            )
            raise errors.HostInUse(host=name, what="is owed its cleaning", instead=instead)
        await self._session.change(sa.delete(_T).where(_T.c.name == name))

    async def _one(self, statement: sa.Select[Any], by: dict[str, int | str]) -> model.Host:
        found = await self._records(statement, by)
        if not found:
            raise errors.HostNotFound(host=str(*by.values()))
        return found[0]

    async def _records(self, statement: sa.Select[Any], parameters: dict[str, int | str] | None = None) -> builtins.list[model.Host]:
        rows = await self._session.rows(statement, parameters)
        taken = await usage.of_hosts(self._session, [row.name for row in rows])
        return [model.Host(**row._mapping, usage=taken.get(row.name, model.Usage())) for row in rows]


def _booted_at(description: model.HostDescription, now: datetime.datetime) -> datetime.datetime | None:
    # Agents tell how long, never when: their clocks may be wrong.
    return None if description.uptime_seconds is None else now - datetime.timedelta(seconds=description.uptime_seconds)


def _has_id(host_id: int | str) -> sa.ColumnElement[bool]:
    return _T.c.id == host_id if isinstance(host_id, int) else _T.c.uuid == host_id


def _refuse_while_alive(known: engines.Row, registration: Registration, now: datetime.datetime, down_time_seconds: float) -> None:
    silence_seconds = (now - known.last_seen_at).total_seconds()
    if known.is_signed_off or known.incarnation in registration.replaces or silence_seconds > down_time_seconds:
        return
    wait_seconds = round(max(0.0, down_time_seconds - silence_seconds), 3)
    raise errors.HostRefused(
        host=registration.name,
        problem=f"its agent {known.incarnation} was heard of {silence_seconds:.1f} s ago",
        instead=f"Stop that agent, start this one on its journal directory, or wait until {down_time_seconds:g} s of silence.",
        predecessor=known.incarnation,
        retry_after_seconds=wait_seconds,
    )
