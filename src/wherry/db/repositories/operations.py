# SPDX-License-Identifier: Apache-2.0
"""Operations: accept, claim, advance; and the intents that people raise against them.

The one place that stores a status: `advance` for a migration under way, `accept` for a new one. Judges no transition: model/states.py does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import engine as engines
from wherry.db import schema
from wherry.db import session as sessions
from wherry.db.repositories import at_once, event_rows, migrations, taking_up, transitions
from wherry.model import build, instance_actions, migration, states
from wherry.model import operation as model
from wherry.model import server as server_model

_T = schema.operations
_M = schema.migrations
_I = schema.intents
_C = schema.conductors
_COLUMNS = sessions.columns_of(_T, model.Operation)
_INTENT_COLUMNS = sessions.columns_of(_I, model.Intent)
_BY_ID = sa.select(*_COLUMNS).where(_T.c.id == sa.bindparam("id"))
_NAMES = tuple(column.name for column in _COLUMNS)
# What is written most is put together once; building a statement costs more than running it.
_INSERT = sa.insert(_T)
_INSERT_ACTION = sa.insert(schema.actions)
_INSERT_MIGRATION = sa.insert(_M).returning(*migrations.COLUMNS)
_S = schema.servers
_MARK_SERVER = sa.update(_S).where(
    _S.c.uuid == sa.bindparam("of_uuid"),
    _S.c.generation == sa.bindparam("of_generation"),
    _S.c.task_state.is_(None),
    _S.c.deleted_at.is_(None),
)
_MARK_PLACED = _MARK_SERVER.where(_S.c.host.is_not(None))
# No other host keeps a part of it since its last move. One comparison each: a list is put together anew at each execution.
_MARK_SETTLED = _MARK_PLACED.where(
    ~sa.exists().where(_M.c.instance_uuid == _S.c.uuid, sa.or_(*(_M.c.status == resting for resting in sorted(states.RESTING))))
)
_OPEN = _T.c.finished_at.is_(None)
# A newer release may know more kinds, steps and statuses; its rows are left to it.
_KNOWN_STATUS = sessions.is_one_of(sa.type_coerce(_M.c.status, sa.String), [status.value for status in states.Status])
_KNOWN = sa.and_(
    sessions.is_one_of(sa.type_coerce(_T.c.kind, sa.String), [kind.value for kind in model.OperationKind]),
    sessions.is_one_of(sa.type_coerce(_T.c.step, sa.String), [step.value for step in model.StepName]),
    ~sa.exists().where(_M.c.uuid == _T.c.id, ~_KNOWN_STATUS),
    # Those that go on with an earlier operation's migration: the server's one that has not ended.
    sa.or_(
        ~sessions.is_one_of(_T.c.kind, sorted(model.GOING_ON)),
        ~sa.exists().where(_M.c.instance_uuid == _T.c.instance_uuid, _M.c.finished_at.is_(None), ~_KNOWN_STATUS),
    ),
)
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_WAITED_FOR = sa.select(_M.c.uuid, _M.c.status, _M.c.reason).where(_M.c.uuid.in_(_IDS), _KNOWN_STATUS)
_ENDED = sa.select(_T.c.id).where(_T.c.finished_at.is_not(None), _T.c.id.in_(_IDS)).order_by(_T.c.created_at, _T.c.id)
_KNOWN_INTENT = sessions.is_one_of(sa.type_coerce(_I.c.kind, sa.String), [kind.value for kind in model.IntentKind])
_OPEN_OF = sa.select(*_COLUMNS).where(_T.c.instance_uuid == sa.bindparam("instance_uuid"), _OPEN)
_MINE = sa.select(*_COLUMNS).where(_T.c.id == sa.bindparam("of_id"), _OPEN, _KNOWN, _T.c.owner == sa.bindparam("conductor"))
_OWNED_BY = sa.select(_T.c.id).where(_T.c.owner == sa.bindparam("conductor"), _OPEN, _KNOWN).order_by(_T.c.created_at, _T.c.id)
_IS_PENDING = sa.and_(_I.c.acknowledged_at.is_(None), _KNOWN_INTENT)
_PENDING = sa.select(*_INTENT_COLUMNS).where(_I.c.operation_id == sa.bindparam("operation_id"), _IS_PENDING).order_by(_I.c.id)
_WITH_PENDING = sa.select(_I.c.operation_id).where(_IS_PENDING).group_by(_I.c.operation_id).order_by(sa.func.min(_I.c.id))
_TOUCH_OPEN = (
    sa.update(_T).where(_T.c.id == sa.bindparam("of_id"), _OPEN).values(updated_at=sa.text("updated_at + interval '1 microsecond'"))
)
_METHOD = {
    model.IntentKind.ABORT: "abort live migration",
    model.IntentKind.FORCE_COMPLETE: "force complete",
    model.IntentKind.RESUME_POST_COPY: "resume post-copy",
    model.IntentKind.GIVE_UP: "give up post-copy",
    model.IntentKind.DELETE: "delete",
}


def _is_free(dialect: engines.Dialect) -> sa.ColumnElement[bool]:
    live = sa.exists().where(_C.c.id == _T.c.owner, _C.c.expires_at > dialect.lease_time("lease_now"))
    return sa.or_(_T.c.owner.is_(None), ~live)


def _is_live(dialect: engines.Dialect) -> sa.Exists:
    return sa.exists().where(_C.c.id == sa.bindparam("conductor"), _C.c.expires_at > dialect.lease_time("lease_now"))


@functools.cache
def _claiming(dialect: engines.Dialect) -> sa.UpdateBase:
    conductor = sa.bindparam("conductor", type_=_T.c.owner.type)
    is_others = _T.c.owner.is_distinct_from(conductor)
    claimed = sa.update(_T).where(_T.c.id == sa.bindparam("of_id"), _OPEN, _KNOWN, _is_free(dialect), _is_live(dialect), is_others)
    stamps = {"updated_at": sa.bindparam("at", type_=_T.c.updated_at.type)}
    raised = {"epoch": _T.c.epoch + 1, "generation": _T.c.generation + 1}
    return claimed.values(owner=conductor, **raised, **stamps).returning(*_COLUMNS)


@functools.cache
def _living(dialect: engines.Dialect) -> sa.Select[Any]:
    return sa.select(sa.literal(1).label("one")).where(_is_live(dialect))


@functools.cache
def _claimable(dialect: engines.Dialect) -> sa.Select[Any]:
    in_order = sa.select(_T.c.id).where(_OPEN, _KNOWN, _is_free(dialect)).order_by(_T.c.created_at, _T.c.id)
    return in_order.limit(sa.bindparam("most", type_=sa.Integer))


class Operations:
    """Records of operations and of their intents."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def accept(
        self,
        server: server_model.Server,
        request: model.Request,
        *,
        request_id: str,
        user_id: str,
        project_id: str,
    ) -> tuple[model.Operation, migration.Migration | None]:
        """Record what is asked of the server as it was read: operation, action, task_state, and its migration where it is to move.

        Four statements at most, one for a live migration where the database writes at once: fit for `Store.put`.
        A server that is to be made was inserted with its task_state.
        :raises StaleWrite: the server was changed since, or has an operation; or it is to live-migrate and its last move is not settled.
        """
        asked = {"request_id": request_id, "user_id": user_id, "project_id": project_id}
        if self._session.dialect.writes_at_once and isinstance(request, migration.LiveMigrationRequest):
            return await _accept_at_once(self._session, server, request, asked)
        accepted = await self.begin(server, request, **asked)
        await _note_action(self._session, accepted[0], request)
        return accepted

    async def begin(
        self, server: server_model.Server, request: model.Request, *, request_id: str, user_id: str, project_id: str
    ) -> tuple[model.Operation, migration.Migration | None]:
        """Record as `accept` does what had its action recorded when it was asked for, earlier than this.

        :raises StaleWrite: the server was changed since, or has an operation.
        """
        asked = {"request_id": request_id, "user_id": user_id, "project_id": project_id}
        return await self._accept(server, request, asked, _plan_of(server, request), epoch=0)

    async def accept_after(
        self,
        before: model.Operation,
        server: server_model.Server,
        request: migration.ConfirmRequest | migration.RevertRequest,
        **asked: str,
    ) -> model.Operation:
        """Record that a server's migration goes on, with the plan of the operation that last moved it on.

        :param asked: as in `accept`
        :raises StaleWrite: the server was changed since, or has an operation.
        """
        accepted = await self.begin_after(before, server, request, **asked)
        await _note_action(self._session, accepted, request)
        return accepted

    async def begin_after(
        self,
        before: model.Operation,
        server: server_model.Server,
        request: migration.ConfirmRequest | migration.RevertRequest | build.DeleteRequest,
        **asked: str,
    ) -> model.Operation:
        """Record as `accept_after` does what had its action recorded when it was asked for."""
        # The agents know the migration by one id: commands of what came before must be the older ones.
        accepted, _ = await self._accept(server, request, asked, before.plan, epoch=before.epoch)
        return accepted

    async def _accept(
        self, server: server_model.Server, request: model.Request, by: dict[str, str], plan: migration.DrivenPlan, *, epoch: int
    ) -> tuple[model.Operation, migration.Migration | None]:
        beginning = model.beginning_of(request)
        if not isinstance(request, build.BuildRequest):
            await _mark(self._session, server, request)
        operation = _operation_of(self._session, server, request, by, plan, epoch=epoch)
        try:
            await self._session.change(_INSERT, {name: getattr(operation, name) for name in _NAMES})
        except sa.exc.IntegrityError as error:
            raise errors.StaleWrite(what="Server", name=server.uuid) from error
        return operation, None if beginning.status is None else await _add_migration(self._session, operation, server, beginning.status)

    async def get(self, operation_id: str) -> model.Operation:
        """Give one operation.

        :raises NotFound: there is none.
        """
        row = await self._session.row(_BY_ID, {"id": operation_id})
        if row is None:
            raise errors.NotFound(what="Operation", name=operation_id)
        return sessions.record_of(model.Operation, row)

    async def last_of_migration(self, migration_id: str) -> model.Operation:
        """Give the operation that last moved a migration on: the one that began it, or one after it that was given up.

        :raises NotFound: there is none.
        """
        began = await self.get(migration_id)
        same = sa.select(*_COLUMNS).where(_T.c.instance_uuid == began.instance_uuid, _T.c.created_at >= began.created_at)
        found = sessions.records_of(model.Operation, await self._session.rows(same.order_by(_T.c.created_at.desc())))
        last = max((one for one in found if one.migration_uuid == migration_id), key=lambda one: one.epoch, default=began)
        newer = [one.epoch for one in found if isinstance(one.request, model.NewerRequest)]
        # The agents may know the migration by one of these.
        return dataclasses.replace(last, epoch=max(last.epoch, *newer, 0))

    async def open_of_instance(self, instance_uuid: str) -> model.Operation | None:
        """Give the operation that has the server now."""
        row = await self._session.row(_OPEN_OF, {"instance_uuid": instance_uuid})
        return None if row is None else sessions.record_of(model.Operation, row)

    async def claim(self, operation_id: str, conductor_id: str) -> model.Operation | None:
        """Make the conductor the owner; None when another one with a live lease is, or the operation has ended.

        A change of owner raises epoch and generation; claiming what is mine already changes nothing.
        :raises LeaseLost: the conductor has no live lease of its own.
        """
        dialect, whose = self._session.dialect, {"of_id": operation_id, "conductor": conductor_id}
        lease = {"lease_now": dialect.lease_moment(self._session.now)}
        row = await self._session.row(_claiming(dialect), whose | lease | {"at": self._session.now})
        if row is None:
            row = await self._session.row(_MINE, whose)
        if row is None and await self._session.row(_living(dialect), {"conductor": conductor_id} | lease) is None:
            raise errors.LeaseLost(conductor=conductor_id)
        return None if row is None else sessions.record_of(model.Operation, row)

    async def take_up(
        self, operation_id: str, conductor_id: str, start: instance_actions.EventStart
    ) -> tuple[model.Operation, migration.Migration, bool] | None:
        """Claim as `claim` does what is a migration whose checks are to run, and open their event; None also where they are over.

        One statement where the database writes at once, or TakesMore: fit for `Store.put`. The flag says whether intents are pending.
        :raises LeaseLost: the conductor has no live lease of its own.
        :raises ActionNotFound: the server has no action of that request.
        """
        if self._session.dialect.writes_at_once:
            taken = await taking_up.at_once(self._session, operation_id, conductor_id, start, _KNOWN)
            if taken is not None:
                return taken
            if self._session.is_single:
                raise sessions.TakesMore
        claimed = await self.claim(operation_id, conductor_id)
        if claimed is None or claimed.step not in model.CHECKING:
            return None
        await event_rows.write(self._session, (claimed.instance_uuid, claimed.request_id), started=[start])
        moving = await migrations.Migrations(self._session).get_by_uuid(claimed.id)
        return claimed, moving, bool(await self.pending_intents(claimed.id))

    async def claimable(self, limit: int) -> list[str]:
        """Give ids of operations that nobody with a live lease drives, oldest first."""
        dialect = self._session.dialect
        parameters = {"lease_now": dialect.lease_moment(self._session.now), "most": limit}
        return [row.id for row in await self._session.rows(_claimable(dialect), parameters)]

    async def owned_by(self, conductor_id: str) -> list[str]:
        """Give ids of the operations that the conductor drives, oldest first."""
        return [row.id for row in await self._session.rows(_OWNED_BY, {"conductor": conductor_id})]

    async def list_open(self) -> list[str]:
        """Give ids of every operation that has not ended, oldest first."""
        statement = sa.select(_T.c.id).where(_OPEN).order_by(_T.c.created_at, _T.c.id)
        return [row.id for row in await self._session.rows(statement)]

    async def release(self, conductor_id: str) -> int:
        """Hand every operation of the conductor back, for a shutdown: anybody may claim them. Give their number."""
        statement = (
            sa.update(_T)
            .where(_T.c.owner == conductor_id, _OPEN)
            .values(owner=None, generation=_T.c.generation + 1, updated_at=self._session.now)
        )
        return await self._session.change(statement)

    async def advance(self, operation: model.Operation, transition: model.Transition) -> tuple[model.Operation, migration.Migration | None]:
        """Store one transition: the only writer of a migration's status.

        :raises StaleWrite: the operation as it was read is no longer what is stored; nothing was changed.
        :raises IllegalTransition: its status does not take the event; nothing was changed.
        :raises ActionNotFound: an event names a request that the server has no action of.
        """
        return await transitions.store(self._session, operation, transition)

    async def waiting_for(self, operation_ids: Sequence[str]) -> dict[str, tuple[states.Status, migration.Reason | None]]:
        """Say how far migrations are, in one query for many waiting clients. One in a newer release's status is as if it were not there."""
        return {row.uuid: (row.status, row.reason) for row in await self._session.rows(_WAITED_FOR, {"ids": list(operation_ids)})}

    async def record_intent(
        self,
        operation_id: str,
        kind: model.IntentKind,
        *,
        request_id: str,
        allowed: frozenset[states.Status] | None = None,
    ) -> model.Intent:
        """Record what a person wants of an operation under way. Its action is the caller's to record.

        :param allowed: statuses in which it may be asked of a migration; None: any but an end. Another operation need only be open.
        :raises InvalidMigrationState: the migration's status is none of them.
        :raises NotFound: there is no such operation, or it has ended.
        """
        if self._session.dialect.writes_at_once:
            # An end that is one statement sees no intent that is committed while it waits for a lock; it sees that this has changed.
            await self._session.change(_TOUCH_OPEN, {"of_id": operation_id})
        # Locked, so that the status cannot move between this look and the commit.
        look = sa.select(_M.c.id, _M.c.instance_uuid, _M.c.status, _M.c.finished_at).where(_M.c.uuid == operation_id)
        row = await self._session.row(look.with_for_update(key_share=True))
        if row is None:
            await _lock_open(self._session, operation_id)
        elif row.finished_at is not None or (allowed is not None and row.status not in allowed):
            wanted = "in progress" if allowed is None else " or ".join(sorted(status.value for status in allowed))
            raise errors.InvalidMigrationState(
                migration_id=row.id, uuid=row.instance_uuid, state=row.status.value, method=_METHOD[kind], wanted=wanted
            )
        values = {"operation_id": operation_id, "kind": kind, "request_id": request_id, "requested_at": self._session.now}
        stored = (await self._session.connection.execute(sa.insert(_I).values(**values).returning(*_INTENT_COLUMNS))).one()
        return sessions.record_of(model.Intent, stored)

    async def pending_intents(self, operation_id: str) -> list[model.Intent]:
        """Give the intents that nobody has acknowledged, oldest first. One of a kind that a newer release knows is left to that."""
        return sessions.records_of(model.Intent, await self._session.rows(_PENDING, {"operation_id": operation_id}))

    async def operations_with_pending_intents(self) -> list[str]:
        """Give ids of operations, ended ones too, that have an intent nobody has acknowledged."""
        return [row.operation_id for row in await self._session.rows(_WITH_PENDING, {})]

    async def ended_among(self, operation_ids: Sequence[str]) -> list[str]:
        """Give those of these operations that have ended."""
        return [row.id for row in await self._session.rows(_ENDED, {"ids": list(operation_ids)})]

    async def acknowledge_intent(self, intent: model.Intent, finish: instance_actions.EventFinish | None = None) -> bool:
        """End an intent: taken up, or made moot by the outcome. False: it was ended already, and nothing changed.

        :param finish: closes the event of the intent's own action.
        """
        statement = sa.update(_I).where(_I.c.id == intent.id, _I.c.acknowledged_at.is_(None)).values(acknowledged_at=self._session.now)
        if await self._session.change(statement) != 1:
            return False
        if finish is not None:
            row = (await self._session.connection.execute(sa.select(_T.c.instance_uuid).where(_T.c.id == intent.operation_id))).one()
            await event_rows.write(self._session, (row.instance_uuid, finish.request_id or intent.request_id), finished=[finish])
        return True


async def _accept_at_once(
    session: sessions.Session, server: server_model.Server, request: migration.LiveMigrationRequest, by: dict[str, str]
) -> tuple[model.Operation, migration.Migration | None]:
    """Record a live migration as `accept` does, in one statement: a trip to the database costs more than all else in a request."""
    beginning = model.beginning_of(request)
    operation = _operation_of(session, server, request, by, _plan_of(server, request), epoch=0)
    inserts = (
        (schema.actions, _action_of(operation, request)),
        (_T, {name: getattr(operation, name) for name in _NAMES}),
        (_M, _migration_of(operation, server, beginning.status or states.Status.ACCEPTED)),
    )
    where, changes = _marks(session, server, beginning.task_state)
    try:
        row = await at_once.write(session, _MARK_SETTLED, where, changes, inserts)
    except sa.exc.IntegrityError as error:
        raise errors.StaleWrite(what="Server", name=server.uuid) from error
    if row is None:
        raise errors.StaleWrite(what="Server", name=server.uuid)
    names = [column.name for column in migrations.COLUMNS]
    return operation, migration.Migration(**{name: row._mapping[name] for name in names})


async def _lock_open(session: sessions.Session, operation_id: str) -> None:
    look = sa.select(_T.c.id).where(_T.c.id == operation_id, _OPEN).with_for_update(key_share=True)
    if await session.row(look) is None:
        raise errors.NotFound(what="Operation", name=operation_id)


def _plan_of(server: server_model.Server, request: model.Request) -> migration.DrivenPlan:
    plan = migration.DrivenPlan(source=server.host or "")
    if not isinstance(request, migration.ColdMigrationRequest):
        return plan
    size = migration.Size(memory_mib=server.memory_mib, vcpus=server.vcpus, root_gib=server.root_gib)
    if request.flavor is None:
        return dataclasses.replace(plan, old_size=size, new_size=size)
    return dataclasses.replace(
        plan,
        old_size=size,
        new_size=migration.size_of(request.flavor),
        old_flavor=server.current_flavor,
        new_flavor=request.flavor,
    )


def _type_of(request: model.Request | model.NewerRequest) -> migration.MigrationType:
    if not isinstance(request, migration.ColdMigrationRequest):
        return migration.MigrationType.LIVE_MIGRATION
    return migration.MigrationType.RESIZE if request.is_resize else migration.MigrationType.MIGRATION


async def _note_action(session: sessions.Session, of: model.Operation, request: model.Request) -> None:
    await session.change(_INSERT_ACTION, _action_of(of, request))


def _action_of(of: model.Operation, request: model.Request) -> dict[str, Any]:
    asked = {"request_id": of.request_id, "user_id": of.user_id, "project_id": of.project_id, "instance_uuid": of.instance_uuid}
    stamps = {"started_at": of.created_at, "changed_at": of.created_at}
    return asked | {"action": model.beginning_of(request).action.value} | stamps


def _migration_of(of: model.Operation, server: server_model.Server, status: states.Status) -> dict[str, Any]:
    old = server.current_flavor
    new = of.plan.new_flavor or old
    created: dict[str, Any] = {
        "uuid": of.id,
        "instance_uuid": of.instance_uuid,
        "user_id": of.user_id,
        "project_id": of.project_id,
        "migration_type": _type_of(of.request),
        "status": status,
        "source_compute": of.plan.source,
        "old_flavor_number": old.number,
        "new_flavor_number": new.number,
        "created_at": of.created_at,
        "changed_at": of.created_at,
    }
    for name, size in (("old", of.plan.old_size), ("new", of.plan.new_size)):
        created |= {f"{name}_{part}": getattr(size, part) if size is not None else None for part in schema.SIZE_PARTS}
    return created


def _operation_of(
    session: sessions.Session,
    server: server_model.Server,
    request: model.Request,
    by: dict[str, str],
    plan: migration.DrivenPlan,
    *,
    epoch: int,
) -> model.Operation:
    return model.Operation(
        id=session.new_uuid(),
        kind=model.OperationKind(request.kind),
        instance_uuid=server.uuid,
        request_id=by["request_id"],
        user_id=by["user_id"],
        project_id=by["project_id"],
        request=request,
        step=model.beginning_of(request).step,
        plan=plan,
        epoch=epoch,
        created_at=session.now,
    )


def _marks(
    session: sessions.Session, server: server_model.Server, task_state: server_model.TaskState | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    stamps = {"generation": server.generation + 1, "updated_at": session.now, "changed_at": session.now}
    return {"of_uuid": server.uuid, "of_generation": server.generation}, {"task_state": task_state, "progress": 0} | stamps


async def _mark(session: sessions.Session, server: server_model.Server, request: model.Request) -> None:
    where, changes = _marks(session, server, model.beginning_of(request).task_state)
    is_live = isinstance(request, migration.LiveMigrationRequest)
    statement = _MARK_SETTLED if is_live else _MARK_SERVER if isinstance(request, build.DeleteRequest) else _MARK_PLACED
    if await session.change(statement, where | changes) != 1:
        raise errors.StaleWrite(what="Server", name=server.uuid)


async def _add_migration(
    session: sessions.Session, of: model.Operation, server: server_model.Server, status: states.Status
) -> migration.Migration:
    row = (await session.connection.execute(_INSERT_MIGRATION, _migration_of(of, server, status))).one()
    return sessions.record_of(migration.Migration, row)
