# SPDX-License-Identifier: Apache-2.0
"""Servers: find, list, insert, update. A server under an operation is changed by that operation's transitions only."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import engine as engines
from wherry.db import paging, schema
from wherry.db import session as sessions
from wherry.model import flavor as flavors
from wherry.model import guest
from wherry.model import server as model

_T = schema.servers
COLUMNS = sessions.columns_of(_T, model.Server)
#: Columns that lists may be sorted by.
SORT_KEYS = frozenset(
    {"id", "uuid", "name", "project_id", "user_id", "host", "node", "vm_state", "task_state", "power_state", "memory_mib", "vcpus"}
    | {"root_gib", "progress", "locked_by", "created_at", "updated_at", "launched_at", "deleted_at"}
)
#: What only an operation may change while there is one.
_OPERATIONS_OWN = frozenset({"host", "node", "vm_state", "task_state", "power_state", "progress", "deleted_at"})
_BY_UUID = sa.select(*COLUMNS).where(_T.c.uuid == sa.bindparam("uuid"))
_BY_UUIDS = sa.select(*COLUMNS).where(_T.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
_ON_HOSTS = sa.select(*COLUMNS).where(_T.c.host.in_(sa.bindparam("hosts", expanding=True)), _T.c.deleted_at.is_(None)).order_by(_T.c.id)
_BIRTHS = sa.select(_T.c.uuid, _T.c.birth).where(_T.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
#: What some columns are compared as.
_COMPARED: Mapping[str, sa.ColumnElement[Any]] = {"hostname": sa.func.coalesce(_T.c.hostname, _T.c.name)}
_MOST_REPETITIONS = 2
# PostgreSQL's own limit.
_LONGEST_REPETITION = 255
#: Characters that make a name a pattern.
_PATTERN = re.compile(r"[\\^$.|?*+()\[\]{}]")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewServer:
    """What is known of a server when its record is made."""

    uuid: str
    name: str
    project_id: str
    user_id: str
    host: str | None
    node: str | None
    vm_state: model.VmState
    power_state: model.PowerState
    memory_mib: int
    vcpus: int
    root_gib: int = 0
    flavor: flavors.Flavor | None = None
    disks: tuple[guest.Disk, ...] = ()
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    task_state: model.TaskState | None = None
    reason: str | None = None
    description: str | None = None
    hostname: str | None = None
    image_ref: str | None = None
    tags: tuple[str, ...] = ()
    reservation_id: str | None = None
    birth: model.Birth | None = None
    launched_at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerQuery:
    """Which servers a list shows; None = any."""

    host: str | None = None
    #: Regular expression that occurs somewhere in the name.
    name: str | None = None
    #: The whole name.
    name_exactly: str | None = None
    uuids: Sequence[str] | None = None
    #: Pairs of vm_state and task_state, any of which will do; what statuses of the API they stand for is the API's business.
    statuses: Sequence[tuple[model.VmState, model.TaskState | None]] | None = None
    vm_states: Sequence[model.VmState] | None = None
    project_id: str | None = None
    user_id: str | None = None
    #: True: deleted ones only; False: the others; None: all.
    deleted: bool | None = False
    is_locked: bool | None = None
    #: On any of these hosts.
    hosts: Sequence[str] | None = None
    #: Column of SORT_KEYS -> the value that it has.
    equal: Mapping[str, object] = dataclasses.field(default_factory=dict)
    #: Id of the flavor, of one that was made or one that tells a size.
    flavor: str | None = None
    #: All of these tags, any of them, not all of them, none of them.
    tags: Sequence[str] = ()
    tags_any: Sequence[str] = ()
    not_tags: Sequence[str] = ()
    not_tags_any: Sequence[str] = ()
    changes_since: datetime.datetime | None = None
    changes_before: datetime.datetime | None = None
    sort: Sequence[paging.SortKey] = paging.NEWEST_FIRST
    limit: int | None = None
    #: uuid of the last server of the page before.
    marker: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Size:
    """What a server takes that was not made from a flavor."""

    vcpus: int
    memory_mib: int
    root_gib: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What the servers of a project take together."""

    servers: int
    vcpus: int
    memory_mib: int


class Servers:
    """Records of servers."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, uuid: str, *, include_deleted: bool = False) -> model.Server:
        """Give one server.

        :raises ServerNotFound: it is not known, or deleted.
        """
        row = await self._row(uuid)
        if row is None or (row.deleted_at is not None and not include_deleted):
            raise errors.ServerNotFound(uuid=uuid)
        return sessions.record_of(model.Server, row)

    async def find(self, uuids: Sequence[str]) -> dict[str, model.Server]:
        """Give those of the servers that are known, deleted ones too, by uuid."""
        rows = await self._session.rows(_BY_UUIDS, {"uuids": builtins.list(uuids)})
        return {row.uuid: sessions.record_of(model.Server, row) for row in rows}

    async def zones_of(self, uuids: Sequence[str]) -> dict[str, str | None]:
        """Give the availability zone that each may not leave; None for any. One that is not known is left out."""
        rows = await self._session.rows(_BIRTHS, {"uuids": builtins.list(uuids)})
        return {row.uuid: None if row.birth is None else row.birth.zone for row in rows}

    async def list(self, query: ServerQuery) -> builtins.list[model.Server]:
        """Give one page.

        :raises MarkerNotFound: no such server.
        :raises SortKeyInvalid: no such column, or not one to sort by.
        :raises NamePatternInvalid: the name is no regular expression, or one that may take too long.
        """
        unknown = [key.name for key in query.sort if key.name not in SORT_KEYS]
        if unknown:
            raise errors.SortKeyInvalid(key=unknown[0], accepted=sorted(SORT_KEYS))
        keys = paging.with_tie_break(query.sort)
        chosen = sa.select(*COLUMNS).where(*_conditions(query))
        rows = await paging.page(self._session, chosen, _T, keys, limit=query.limit, marker=query.marker, find=self._row)
        return sessions.records_of(model.Server, rows)

    async def on_host(self, host: str) -> builtins.list[model.Server]:
        """Give the servers of a host that are not deleted, oldest first."""
        return (await self.on_hosts([host])).get(host, [])

    async def on_hosts(self, hosts: Sequence[str]) -> dict[str, builtins.list[model.Server]]:
        """Give the servers of several hosts in one query, by host; a host without any is left out."""
        found: dict[str, builtins.list[model.Server]] = {}
        for row in await self._session.rows(_ON_HOSTS, {"hosts": builtins.list(hosts)}):
            found.setdefault(row.host, []).append(sessions.record_of(model.Server, row))
        return found

    async def sizes(self, project_id: str | None) -> builtins.list[Size]:
        """Give each size that a server without a flavor of its own has, in the project (None: in any), smallest first."""
        columns = (_T.c.vcpus, _T.c.memory_mib, _T.c.root_gib)
        statement = sa.select(*columns).where(_T.c.flavor_ref.is_(None), *_conditions(ServerQuery(project_id=project_id))).distinct()
        return sorted(Size(**row._mapping) for row in await self._session.rows(statement))

    async def totals(self, project_id: str) -> Totals:
        """Count the project's servers and add up what they take."""
        sums = (sa.func.coalesce(sa.func.sum(column), 0).label(column.name) for column in (_T.c.vcpus, _T.c.memory_mib))
        statement = sa.select(sa.func.count().label("servers"), *sums).where(*_conditions(ServerQuery(project_id=project_id)))
        row = (await self._session.connection.execute(statement)).one()
        return Totals(servers=int(row.servers), vcpus=int(row.vcpus), memory_mib=int(row.memory_mib))

    async def insert(self, new: NewServer) -> model.Server:
        """Record a server.

        :raises StaleWrite: there is one of this uuid, deleted or not.
        """
        values = _values_of(new)
        now = self._session.now
        statement = self._session.dialect.insert_ignoring(_T).values(**values, created_at=now, changed_at=now).returning(*COLUMNS)
        row = await self._session.row(statement)
        if row is None:
            raise errors.StaleWrite(what="Server", name=new.uuid)
        return sessions.record_of(model.Server, row)

    async def insert_all(self, new: Sequence[NewServer]) -> None:
        """Record many servers at once, as the first inventory of a host brings them: in one statement, up to a thousand or so.

        :raises StaleWrite: there is one of these uuids, deleted or not.
        """
        if not new:
            return
        now = self._session.now
        rows = [_values_of(one) | {"created_at": now, "changed_at": now} for one in new]
        # Counted by what comes back: asyncpg gives no count for many rows at once.
        insert = self._session.dialect.insert_ignoring(_T).returning(_T.c.uuid)
        stored = {row.uuid for row in await self._session.rows(insert, rows)}
        known = [one.uuid for one in new if one.uuid not in stored]
        if known:
            raise errors.StaleWrite(what="Server", name=known[0])

    async def update(self, server: model.Server, *, in_operation: bool = False, **changes: Any) -> model.Server:
        """Change fields of the server as it was read; None empties a field.

        :param in_operation: change what belongs to an operation although there is one.
        :raises StaleWrite: somebody else changed it first, or an operation has it.
        """
        now = self._session.now
        conditions = [_T.c.uuid == server.uuid, _T.c.generation == server.generation]
        if not in_operation and not _OPERATIONS_OWN.isdisjoint(changes):
            operations = schema.operations
            conditions.append(
                ~sa.exists().where(operations.c.instance_uuid == server.uuid, operations.c.finished_at.is_(None)),
            )
        values = changes | (columns_of_flavor(changes["flavor"]) if "flavor" in changes else {})
        statement = sa.update(_T).where(*conditions).values(**values, generation=server.generation + 1, updated_at=now, changed_at=now)
        if await self._session.change(statement) != 1:
            raise errors.StaleWrite(what="Server", name=server.uuid)
        return dataclasses.replace(server, **changes, generation=server.generation + 1, updated_at=now)

    async def _row(self, uuid: str) -> engines.Row | None:
        return await self._session.row(_BY_UUID, {"uuid": uuid})


def _values_of(new: NewServer) -> dict[str, object]:
    return {field.name: getattr(new, field.name) for field in dataclasses.fields(new)} | columns_of_flavor(new.flavor)


def _conditions(query: ServerQuery) -> list[sa.ColumnElement[bool]]:
    simple: list[tuple[Any, Any]] = [
        (query.host, _T.c.host == query.host),
        (query.name_exactly, _T.c.name == query.name_exactly),
        (query.project_id, _T.c.project_id == query.project_id),
        (query.user_id, _T.c.user_id == query.user_id),
        (query.uuids, _T.c.uuid.in_(query.uuids or ())),
        (query.hosts, _T.c.host.in_(query.hosts or ())),
        (query.vm_states, _T.c.vm_state.in_(query.vm_states or ())),
    ]
    conditions: list[sa.ColumnElement[bool]] = [condition for value, condition in simple if value is not None]
    conditions += [_COMPARED.get(column, _T.c[column]) == value for column, value in query.equal.items()]
    # Apart, because SQLAlchemy refuses to compare with None even where the comparison is thrown away.
    if query.changes_since is not None:
        conditions.append(_T.c.changed_at >= query.changes_since)
    if query.changes_before is not None:
        conditions.append(_T.c.changed_at <= query.changes_before)
    if query.deleted is not None:
        conditions.append(_T.c.deleted_at.is_not(None) if query.deleted else _T.c.deleted_at.is_(None))
    if query.is_locked is not None:
        conditions.append(_T.c.locked_by.is_not(None) if query.is_locked else _T.c.locked_by.is_(None))
    if query.statuses is not None:
        conditions.append(sa.or_(sa.false(), *(_has_states(vm_state, task) for vm_state, task in query.statuses)))
    conditions += _tag_conditions(query)
    if query.flavor is not None:
        conditions.append(_has_flavor(query.flavor))
    if query.name:
        conditions.append(_matches(query.name))
    return conditions


def _has_states(vm_state: model.VmState, task_state: model.TaskState | None) -> sa.ColumnElement[bool]:
    task = _T.c.task_state.is_(None) if task_state is None else _T.c.task_state == task_state
    return sa.and_(_T.c.vm_state == vm_state, task)


def _tag_conditions(query: ServerQuery) -> builtins.list[sa.ColumnElement[bool]]:
    every, some, not_every, none = (
        [_has_tag(tag) for tag in tags] for tags in (query.tags, query.tags_any, query.not_tags, query.not_tags_any)
    )
    conditions: builtins.list[sa.ColumnElement[bool]] = [*every]
    if some:
        conditions.append(sa.or_(*some))
    if not_every:
        conditions.append(sa.not_(sa.and_(*not_every)))
    if none:
        conditions.append(sa.not_(sa.or_(*none)))
    return conditions


def _has_tag(tag: str) -> sa.ColumnElement[bool]:
    # Without any it is NULL, of which nothing is true, nor its contrary.
    return sa.func.coalesce(_T.c.tags, "").contains(f",{tag},", autoescape=True)


def _has_flavor(flavor_id: str) -> sa.ColumnElement[bool]:
    size = flavors.read_size(flavor_id)
    if size is None:
        return _T.c.flavor_ref == flavor_id
    sizes = (_T.c.vcpus == size.vcpus, _T.c.memory_mib == size.memory_mib, _T.c.root_gib == size.root_gib)
    return sa.or_(_T.c.flavor_ref == flavor_id, sa.and_(_T.c.flavor_ref.is_(None), *sizes))


def columns_of_flavor(flavor: flavors.Flavor | None) -> dict[str, object]:
    """Give what a server's row says of its flavor, beside the sizes."""
    return {"flavor": flavor, "flavor_ref": None if flavor is None else flavor.id}


def _matches(name: str) -> sa.ColumnElement[bool]:
    if not _PATTERN.search(name):
        return _T.c.name.contains(name, autoescape=True)
    problem = _problem_of(name)
    if problem:
        raise errors.NamePatternInvalid(pattern=name, problem=problem)
    return _T.c.name.regexp_match(name)


def _problem_of(pattern: str) -> str:
    """Say what is wrong with a pattern, or too dear: on SQLite it is matched in Python, where a crafted one would hold everything up."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    plain = re.sub(r"\\.", "", pattern)
    if re.search(r"\)[*+{]", plain) or len(re.findall(r"[*+{]", plain)) > _MOST_REPETITIONS:
        return f"groups cannot be repeated, and there may be {_MOST_REPETITIONS} repetitions at most"
    if any(int(number) > _LONGEST_REPETITION for number in re.findall(r"[{,]([0-9]+)", plain)):
        return f"a repetition may ask for {_LONGEST_REPETITION} at most"
    if "(?" in plain or re.search(r"\\[0-9A-Zbghk]", pattern):
        return "only characters, sets, groups, alternatives, anchors and repetitions are known"
    return ""
