# SPDX-License-Identifier: Apache-2.0
"""What a part of the system holds of the world, so made that it goes dead with the part; and a bus that can be tapped.

A kill is no cancellation: what a killed part still does must have no effect. Decides nothing about when anybody dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from wherry import errors
from wherry.agent import storage
from wherry.db import store as stores
from wherry.drivers import base, simulated
from wherry.rpc import addresses
from wherry.rpc.transports import memory

T = TypeVar("T")


class Fate(enum.Enum):
    """What becomes of a message on the bus."""

    DELIVERED = enum.auto()
    LOST = enum.auto()
    DOUBLED = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Passing:
    """A message on its way."""

    name: str
    #: The agent that it is sent to; empty when it goes to a conductor.
    to_host: str
    #: The agent that it comes from; empty when an api or a conductor sends it.
    from_host: str


Tap = Callable[[Passing], Fate]


class TappedBus(memory.MemoryBus):
    """A bus on which a test can listen in, lose and double messages. Everybody is asked; the first word but DELIVERED holds."""

    def __init__(self) -> None:
        super().__init__()
        self.taps: list[Tap] = []

    def recipients(self, subject: str) -> list[memory.MemorySubscription]:
        """As in MemoryBus, after the taps."""
        fate = Fate.DELIVERED
        if self.taps:
            passing = _passing(subject)
            fates = [tap(passing) for tap in tuple(self.taps)]
            fate = next((one for one in fates if one is not Fate.DELIVERED), fate)
        found = super().recipients(subject)
        if fate is Fate.LOST:
            # Somebody listens, so that the sender waits for an answer, and nothing comes.
            return [_deaf(one) for one in found]
        return [*found, *super().recipients(subject)] if fate is Fate.DOUBLED else found


def _deaf(subscription: memory.MemorySubscription) -> memory.MemorySubscription:
    async def ignore(_subject: str, _data: bytes) -> None:
        return None

    return memory.MemorySubscription(memory.MemoryBus(), subscription.owner, subscription.pattern, ignore, subscription.queue)


def _passing(subject: str) -> Passing:
    tokens = subject.split(".")
    if tokens[1] == addresses.Role.AGENT.value:
        return Passing(tokens[-1], addresses.decode(tokens[2]), "")
    return Passing(tokens[-1], "", addresses.decode(tokens[3]) if tokens[2] == addresses.Role.AGENT.value else "")


class MortalStore(stores.Store):
    """One part's access to the database.

    :param on_commit: told what each unit of work that may write gave back, after its commit and before the part learns of it.
    """

    def __init__(self, shared: stores.Store, on_commit: Callable[[object], None]) -> None:
        self._shared = shared
        self._on_commit = on_commit
        self._is_dead = False

    def die(self) -> None:
        """Have no unit of work run any more."""
        self._is_dead = True

    async def run(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        self._check()
        result = await self._shared.run(unit)
        self._on_commit(result)
        self._check()
        return result

    async def put(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        return await self.run(unit)

    async def read(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        self._check()
        return await self._shared.read(unit)

    async def look(self, unit: stores.Unit[T]) -> T:
        """As in Store."""
        self._check()
        return await self._shared.look(unit)

    def _check(self) -> None:
        if self._is_dead:
            raise errors.DatabaseUnavailable(detail="this process is dead")


class MortalDriver(simulated.SimulatedDriver):
    """One agent's hold of its hypervisor.

    :param on_call: told of each call's method, when it is made and (True) when it has had its effect.
    """

    def __init__(self, world: simulated.World, settings: base.HostSettings, on_call: Callable[[str, bool], None]) -> None:
        super().__init__(world, settings)
        self._on_call = on_call

    def die(self) -> None:
        """Have no call reach the hypervisor any more."""
        self._is_open = False

    @contextlib.asynccontextmanager
    async def _calling(self, method: str, instance_uuid: str = "") -> AsyncIterator[simulated.Host]:
        self._on_call(method, False)
        async with super()._calling(method, instance_uuid) as here:
            self._require_alive(here)
            yield here
        self._on_call(method, True)
        self._require_alive(here)

    def _require_alive(self, here: simulated.Host) -> None:
        if not self._is_open:
            raise errors.HypervisorUnavailable(host=here.name, detail="this process is dead")


class MortalStorage(storage.FileStorage):
    """One agent's notes: what it writes after its death does not land."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory, is_synced=False, is_threaded=False)
        self._is_dead = False

    def die(self) -> None:
        """Have nothing written any more."""
        self._is_dead = True

    async def _run(self, work: Callable[[], Any]) -> Any:
        if self._is_dead:
            raise OSError("this process is dead")
        return await super()._run(work)
