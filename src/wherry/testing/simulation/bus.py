# SPDX-License-Identifier: Apache-2.0
"""A bus that loses, doubles, delays and reorders, in both directions, and from which hosts can be cut off."""

from __future__ import annotations

import asyncio
import functools
import random
from typing import Protocol

from wherry.rpc import addresses
from wherry.rpc.transports import base, memory
from wherry.telemetry import logs
from wherry.testing.simulation import perils, process
from wherry.testing.simulation import trace as traces

_log = logs.get_logger(__name__)

#: Seconds that a message takes at least and at most when nothing is wrong: enough for two of them to overtake one another.
_USUAL = (0.0002, 0.003)


class Scrutiny(Protocol):
    """Who looks at what processes send and answer."""

    def sent(self, of: process.Process, name: str, data: bytes) -> None:
        """Look at a request that a process has just decided to send."""

    def received(self, host: str, data: bytes) -> tuple[str, str, int, bool]:
        """Note a command that an agent begins with."""

    def answered(self, name: str, noted: tuple[str, str, int, bool], reply: bytes) -> None:
        """Look at the answer to it."""


class SimulatedBus(memory.MemoryBus):
    """Who subscribes to what, and what becomes of each message."""

    def __init__(self, chance: random.Random, trace: traces.Trace) -> None:
        super().__init__()
        self._chance = chance
        self.trace = trace
        #: Who looks at commands and answers.
        self.scrutiny: Scrutiny | None = None
        #: Shares of all messages and answers that are lost, come twice, or take up to `most_seconds`.
        self.loss = 0.0
        self.doubling = 0.0
        self.slowness = 0.0
        self.most_seconds = 0.0
        #: Hosts whose agents nobody hears and who hear nobody.
        self.cut: dict[str, None] = {}
        #: Those of them that the broker knows to be gone, so that a request to them fails at once.
        self.gone: dict[str, None] = {}
        self.carried = 0

    def calm(self) -> None:
        """Carry everything once, soon."""
        self.loss = self.doubling = self.slowness = 0.0
        self.cut.clear()
        self.gone.clear()

    def recipients(self, subject: str) -> list[memory.MemorySubscription]:
        """As in MemoryBus; nobody at a host that is gone."""
        return [] if self.gone and _host_of(subject) in self.gone else super().recipients(subject)

    def fates(self, subject: str, what: str) -> list[float]:
        """Give the delay of each copy of a message that arrives; none when it is lost."""
        self.carried += 1
        draw = self._chance.random
        if self.cut and _host_of(subject) in self.cut:
            self._note(subject, f"{what} is cut off")
            return []
        if self.loss and draw() < self.loss:
            self._note(subject, f"{what} is lost")
            return []
        delays = [self._delay(subject, what)]
        if self.doubling and draw() < self.doubling:
            delays.append(self._delay(subject, f"second {what}"))
        if self.trace.is_whole and not what.startswith("answer"):
            self._note(subject, what)
        return delays

    def _delay(self, subject: str, what: str) -> float:
        seconds = self._chance.uniform(*_USUAL)
        if self.slowness and self._chance.random() < self.slowness:
            seconds += self._chance.random() ** 3 * self.most_seconds
            self._note(subject, f"{what} takes {seconds:.3f} s")
        return seconds

    def _note(self, subject: str, what: str) -> None:
        self.trace.note(f"bus: {what} {subject.removeprefix('wherry.')}")


class SimulatedTransport(memory.MemoryTransport):
    """One process's access to the bus; dead with it."""

    def __init__(self, bus: SimulatedBus, of: process.Process, dangers: perils.Perils) -> None:
        super().__init__(bus)
        self._wire = bus
        self._of = of
        self._perils = dangers

    async def publish(self, subject: str, data: bytes) -> None:
        """As in MemoryTransport."""
        self._check(subject, data)
        name = _name_of(subject)
        await self._perils.pass_by(self._of, f"send {name}")
        self._carry(subject, data, None)
        await self._perils.pass_by(self._of, f"sent {name}")

    async def request(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        """As in MemoryTransport."""
        self._check(subject, data)
        name = _name_of(subject)
        scrutiny = self._wire.scrutiny
        if scrutiny is not None and self._of.kind == "conductor":
            scrutiny.sent(self._of, name, data)
        await self._perils.pass_by(self._of, f"send {name}")
        if not self._recipients(subject):
            raise base.NoResponders(subject)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._carry(subject, data, answer)
        await self._perils.pass_by(self._of, f"sent {name}")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await answer
        except TimeoutError:
            raise base.NoAnswer(subject) from None

    def deliver(self, receiver: base.Receiver, subject: str, data: bytes, reply: object) -> None:
        """Call the receiver, in a task of its own, as its process."""
        if self._of.is_alive:
            answer = reply if isinstance(reply, asyncio.Future) else None
            self._of.spawn(self._handle(receiver, subject, data, answer), f"deliver {_name_of(subject)}")

    async def _handle(self, receiver: base.Receiver, subject: str, data: bytes, answer: asyncio.Future[bytes] | None) -> None:
        name = _name_of(subject)
        await self._perils.pass_by(self._of, f"got {name}")
        scrutiny = self._wire.scrutiny if self._of.kind == "agent" else None
        noted = scrutiny.received(_host_of(subject), data) if scrutiny is not None else None
        try:
            told = await receiver(subject, data)
        except Exception:
            _log.exception("A receiver raised, which it must not; the message is lost", subject=subject)
            return
        if scrutiny is not None and noted is not None and told is not None and self._of.is_alive:
            scrutiny.answered(name, noted, told)
        if answer is None or told is None:
            return
        await self._perils.pass_by(self._of, f"answer {name}")
        for delay in self._wire.fates(subject, "answer to"):
            process.outside(functools.partial(_hear, answer, told), delay)
        await self._perils.pass_by(self._of, f"answered {name}")

    def _carry(self, subject: str, data: bytes, answer: asyncio.Future[bytes] | None) -> None:
        for delay in self._wire.fates(subject, "message"):
            process.outside(functools.partial(self._arrive, subject, data, answer), delay)

    def _arrive(self, subject: str, data: bytes, answer: asyncio.Future[bytes] | None) -> None:
        # Chosen at the arrival: who has come meanwhile gets what was late.
        for subscription in self._wire.recipients(subject):
            owner = subscription.owner
            if isinstance(owner, SimulatedTransport):
                owner.deliver(subscription.receiver, subject, data, answer)


def _hear(answer: asyncio.Future[bytes], told: bytes) -> None:
    if not answer.done():
        answer.set_result(told)


def _name_of(subject: str) -> str:
    return subject.rpartition(".")[2]


def _host_of(subject: str) -> str:
    """Give the host whose agent sends a message or is sent it; empty where none is part of it."""
    tokens = subject.split(".")
    if tokens[1] == addresses.Role.AGENT.value:
        return addresses.decode(tokens[2])
    return addresses.decode(tokens[3]) if tokens[2] == addresses.Role.AGENT.value else ""
