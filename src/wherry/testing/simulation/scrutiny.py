# SPDX-License-Identifier: Apache-2.0
"""What must hold of messages, calls and records while a schedule goes on: one driver an operation, late commands refused, steps in turn.

Looks only. `watch` looks at guests and deadlines, the judge at the end.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Iterator
from typing import Any

from wherry.conductor import drive
from wherry.db import uow as uows
from wherry.db.repositories import migrations
from wherry.db.repositories import servers as server_records
from wherry.model import migration, operation, states
from wherry.testing.simulation import process, schedule, watch
from wherry.testing.simulation import system as systems

#: Commands that may also be a chore of an earlier epoch, which whoever pays it sends as it was owed.
_OWED = frozenset(
    {
        "FinishDestination",
        "FinishSource",
        "RollBackDestination",
        "RollBackSource",
        "DiscardArrival",
        "RestoreSource",
        "ConfirmSource",
        "ConfirmDestination",
        "DestroyGuest",
    }
)
#: Calls of steps that take turns for one guest. What a watch over a transfer calls is none of them.
_IN_TURN = frozenset(
    {
        "check_destination",
        "release_check",
        "prepare_destination",
        "start_transfer",
        "finish_destination",
        "clean_up_source",
        "roll_back_destination",
        "build_guest",
        "destroy_guest",
        "prepare_arrival",
        "receive_guest",
        "restore_guest",
        "discard_guest",
        "release_guest",
    }
)
#: Virtual seconds between two looks at the servers' records.
_LOOK_SECONDS = 4.0


class Scrutiny:
    """The continuous judge of one run's messages, calls and records."""

    def __init__(self, system: systems.System, watcher: watch.Watch) -> None:
        self._system = system
        self._watch = watcher
        #: By the id that commands carry: the highest epoch that was stored, and whose it is.
        self._owners: dict[str, tuple[int, str]] = {}
        #: By host and that id: the highest epoch whose command was answered with anything but an error.
        self._obeyed: dict[tuple[str, str], int] = {}
        #: Calls under way, by process and guest.
        self._calls: dict[tuple[str, str], list[str]] = {}
        #: What the server's record said at the last look, by migration.
        self._seen: dict[str, tuple[Any, ...]] = {}
        #: Servers whose state somebody has reset.
        self.reset: dict[str, None] = {}
        system.on_commit.append(self._committed)
        system.bus.scrutiny = self
        system.in_call = self.in_call
        system.on_loss.append(self.forget)

    # ----------------------------------------------------------------- messages

    def sent(self, of: process.Process, name: str, data: bytes) -> None:
        """Look at a command that a conductor has just decided to send: nobody else may own its operation."""
        if of.kind != "conductor" or name in _OWED:
            return
        operation_id, epoch = _about(data)
        known, owner = self._owners.get(operation_id, (0, of.name))
        if epoch < known and owner != of.name:
            self._tell(f"{of.name} sends {name} of epoch {epoch}, and {owner} has owned the operation since epoch {known}")

    def received(self, host: str, data: bytes) -> tuple[str, str, int, bool]:
        """Note a command that an agent begins with: host, operation, epoch, and whether a later owner has been obeyed before."""
        operation_id, epoch = _about(data)
        return host, operation_id, epoch, epoch < self._obeyed.get((host, operation_id), 0)

    def answered(self, name: str, noted: tuple[str, str, int, bool], reply: bytes) -> None:
        """Look at the answer to it."""
        host, operation_id, epoch, is_late = noted
        if not operation_id or not reply.startswith(b'{"payload"'):
            return
        if is_late:
            self._tell(f"{host} obeyed {name} of epoch {epoch}, after one of epoch {self._obeyed[host, operation_id]}")
        self._obeyed[host, operation_id] = max(epoch, self._obeyed.get((host, operation_id), 0))

    def forget(self, host: str) -> None:
        """Take note that a host's agent may have lost what it knew of epochs."""
        for key in [key for key in self._obeyed if key[0] == host]:
            del self._obeyed[key]

    # -------------------------------------------------------------------- calls

    @contextlib.contextmanager
    def in_call(self, of: process.Process, method: str, instance_uuid: str) -> Iterator[None]:
        """Look whether two steps of one guest are under way at once."""
        if method not in _IN_TURN:
            yield
            return
        under_way = self._calls.setdefault((of.name, instance_uuid), [])
        if under_way and of.is_alive:
            self._tell(f"{of.name} calls {method} for {instance_uuid} while it calls {', '.join(under_way)}")
        under_way.append(method)
        try:
            yield
        finally:
            under_way.remove(method)

    # ------------------------------------------------------------------ records

    async def observe(self) -> None:
        """Look from time to time whether anything but its migration changes a server's record."""
        while True:
            await self._system.clock.sleep(_LOOK_SECONDS)
            moving, seen = await self._system.store.read(_moving)
            for uuid, record in moving.items():
                server = seen[record.instance_uuid]
                is_reset = server.name in self.reset or server.uuid in self.reset
                shown = (server.host, server.vm_state.value, server.power_state.name)
                before = self._seen.setdefault(uuid, shown)
                if shown != before and not is_reset:
                    self._seen[uuid] = shown
                    self._tell(f"the record of {server.name} went from {before} to {shown} while its migration {record.id} is under way")

    def _committed(self, _of: process.Process, result: object) -> None:
        for one in result if isinstance(result, tuple) else (result,):
            if isinstance(one, drive.Drive):
                self._note(one.operation)
            elif isinstance(one, operation.Operation):
                self._note(one)

    def _note(self, of: operation.Operation) -> None:
        known = of.migration_uuid or of.id
        if of.epoch >= self._owners.get(known, (0, ""))[0]:
            self._owners[known] = (of.epoch, of.owner or "")
        storage = of.plan.storage
        for disk in storage.copied if storage is not None else ():
            if posixpath.dirname(disk.source) == schedule.SHARED:
                self._tell(f"{disk.source}, which all hosts see, is to be copied")

    def _tell(self, problem: str) -> None:
        self._watch.tell(problem)


async def _moving(uow: uows.UnitOfWork) -> tuple[dict[str, migration.Migration], dict[str, Any]]:
    query = migrations.MigrationQuery(statuses=sorted(states.IN_PROGRESS - states.RESTING))
    moving = [one for one in await uow.migrations.list(query) if one.migration_type is migration.MigrationType.LIVE_MIGRATION]
    found = await uow.servers.list(server_records.ServerQuery(deleted=None)) if moving else []
    return {one.uuid: one for one in moving}, {one.uuid: one for one in found}


def _about(data: bytes) -> tuple[str, int]:
    payload = json.loads(data)["payload"]
    return payload.get("operation_id", ""), payload.get("epoch", 0)
