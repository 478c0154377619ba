# SPDX-License-Identifier: Apache-2.0
"""What a binding supplies, and the few rows that most tests begin with.

Asserts nothing; the suites do.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from wherry.config import database as config_database
from wherry.db import engine as engines
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import hosts as host_records
from wherry.db.repositories import servers as server_records
from wherry.model import host, instance_actions, migration, operation, server, states

T = TypeVar("T")

_START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


class SettableClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = _START

    def now(self) -> datetime.datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - _START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Give way: whoever repeats something after a pause repeats it soon."""
        await asyncio.sleep(min(seconds, 0.01))

    def advance(self, seconds: float) -> datetime.datetime:
        self.time += datetime.timedelta(seconds=seconds)
        return self.time


class CountingEngine:
    """Counts the statements that go through it."""

    def __init__(self, engine: engines.Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect
        self.run_sync = engine.run_sync
        self.close = engine.close
        self.statements = 0

    async def transaction(self, work: Callable[[engines.Connection], Awaitable[T]], *, is_writing: bool, is_single: bool = False) -> T:
        return await self._engine.transaction(
            lambda connection: work(_CountingConnection(self, connection)), is_writing=is_writing, is_single=is_single
        )


class _CountingConnection:
    def __init__(self, engine: CountingEngine, connection: engines.Connection) -> None:
        self._engine = engine
        self._connection = connection

    async def execute(self, statement: Any, parameters: engines.Parameters | None = None) -> Any:
        self._engine.statements += 1
        return await self._connection.execute(statement, parameters)


@dataclasses.dataclass(kw_only=True)
class Harness:
    """An empty database with an up-to-date schema, made anew for each test."""

    config: config_database.DatabaseSection
    clock: SettableClock = dataclasses.field(default_factory=SettableClock)

    def __post_init__(self) -> None:
        self.engine = CountingEngine(stores.engine_for(self.config))
        self.store = stores.Store(self.engine, self.config, self.clock)
        self._made = 0

    @contextlib.asynccontextmanager
    async def another_store(self) -> AsyncIterator[stores.Store]:
        """Open the same database once more, with connections of its own, as another process would."""
        store = await stores.Store.open(self.config, self.clock)
        try:
            yield store
        finally:
            await store.close()

    async def statements_of(self, unit: stores.Unit[T]) -> tuple[T, int]:
        """Run a unit; give its result and the number of its statements."""
        before = self.engine.statements
        result = await self.store.run(unit)
        return result, self.engine.statements - before

    def _number(self) -> int:
        self._made += 1
        return self._made

    def new_server(self, **fields: Any) -> server_records.NewServer:
        """Describe a running server that differs from every other."""
        number = self._number()
        known: dict[str, Any] = {
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "name": f"server-{number}",
            "project_id": "project",
            "user_id": "user",
            "host": "host-a",
            "node": "host-a.example",
            "vm_state": server.VmState.ACTIVE,
            "power_state": server.PowerState.RUNNING,
            "memory_mib": 512,
            "vcpus": 2,
        }
        return server_records.NewServer(**(known | fields))

    async def make_server(self, **fields: Any) -> server.Server:
        """Record a server."""
        return await self.store.run(lambda uow: uow.servers.insert(self.new_server(**fields)))

    def registration(self, name: str, **fields: Any) -> host_records.Registration:
        """Describe the start of an agent; `hypervisor_uuid` and `replaces` may be given."""
        description = host.HostDescription(
            hypervisor_uuid=fields.pop("hypervisor_uuid", f"hypervisor of {name}"),
            hypervisor_hostname=f"{name}.example",
            hypervisor_type="QEMU",
            hypervisor_version=7_002_000,
            memory_mib=4096,
            vcpus=8,
        )
        return host_records.Registration(name=name, incarnation=fields.pop("incarnation", f"{name}-1"), description=description, **fields)

    async def make_host(self, name: str, **fields: Any) -> host.Host:
        """Register a host."""
        return await self.store.run(lambda uow: uow.hosts.register(self.registration(name, **fields), 60.0))

    async def accept(self, of: server.Server, **fields: Any) -> tuple[operation.Operation, migration.Migration]:
        """Record a live migration of the server."""
        request = fields.pop("request", migration.LiveMigrationRequest())
        asked = {"request_id": f"req-{self._number()}", "user_id": "asker", "project_id": "asking"} | fields
        accepted, moving = await self.store.run(lambda uow: uow.operations.accept(of, request, **asked))
        if moving is None:
            raise LookupError(f"operation {accepted.id} has no migration")
        return accepted, moving

    async def make_owned(self, *, conductor: str = "conductor-1", **fields: Any) -> operation.Operation:
        """Record a migration of a new server, a live one unless `request` says otherwise; a conductor with a long lease owns it."""
        request = fields.pop("request", migration.LiveMigrationRequest())
        made = await self.make_server(**fields)
        accepted, _ = await self.accept(made, request=request)

        async def claim(uow: uows.UnitOfWork) -> operation.Operation:
            await uow.conductors.renew(conductor, "control", 3600)
            claimed = await uow.operations.claim(accepted.id, conductor)
            if claimed is None:
                raise LookupError(f"operation {accepted.id} cannot be claimed")
            return claimed

        return await self.store.run(claim)

    async def advance(self, of: operation.Operation, *steps: states.Event | operation.Transition) -> operation.Operation:
        """Store transitions, one transaction each; an event alone stands for a transition with it."""
        for step in steps:
            transition = step if isinstance(step, operation.Transition) else operation.Transition(event=step)
            of = (await self.store.run(self._advancing(of, transition)))[0]
        return of

    @staticmethod
    def _advancing(
        of: operation.Operation, transition: operation.Transition
    ) -> stores.Unit[tuple[operation.Operation, migration.Migration | None]]:
        return lambda uow: uow.operations.advance(of, transition)

    async def make_queued(self, source: str, destination: str, **fields: Any) -> operation.Operation:
        """Record a live migration that waits for slots."""
        owned = await self.make_owned(host=source, **fields)
        return await self.advance(owned, operation.Transition(event=states.Event.CHECKS_PASSED, dest_compute=destination))

    async def migration(self, of: operation.Operation) -> migration.Migration:
        """Read an operation's migration."""
        return await self.store.read(lambda uow: uow.migrations.get_by_uuid(of.id))

    async def server(self, uuid: str) -> server.Server:
        """Read a server, deleted or not."""
        return await self.store.read(lambda uow: uow.servers.get(uuid, include_deleted=True))

    async def action(self, of: operation.Operation) -> instance_actions.InstanceAction:
        """Read an operation's action with its events."""
        return await self.store.read(lambda uow: uow.actions.get(of.instance_uuid, of.request_id))
