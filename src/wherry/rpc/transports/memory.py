# SPDX-License-Identifier: Apache-2.0
"""A bus inside one process and one event loop: for all-in-one and for tests.

Carries bytes, never objects, so that what works here also works on a wire. Keeps no message: who does not listen does not hear.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Iterator

from wherry import errors
from wherry.rpc.transports import base
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class MemoryBus:
    """The broker's part: who subscribes to what. One per simulated or real cluster."""

    def __init__(self) -> None:
        self._root = _Node()
        self._turns: dict[tuple[str, str], Iterator[int]] = {}

    def add(self, subscription: MemorySubscription) -> None:
        """Deliver to it from now on."""
        self._root.node_of(subscription.pattern.split("."), is_wanted=True).subscriptions.append(subscription)

    def remove(self, subscription: MemorySubscription) -> None:
        """Deliver to it no longer; one that is gone is fine."""
        subscriptions = self._root.node_of(subscription.pattern.split(".")).subscriptions
        if subscription in subscriptions:
            subscriptions.remove(subscription)

    def recipients(self, subject: str) -> list[MemorySubscription]:
        """Choose who gets a message: all that stand alone, and of each queue group the next in turn."""
        alone: list[MemorySubscription] = []
        groups: dict[tuple[str, str], list[MemorySubscription]] = {}
        for subscription in self._root.matching(subject.split(".")):
            if subscription.queue:
                groups.setdefault((subscription.pattern, subscription.queue), []).append(subscription)
            else:
                alone.append(subscription)
        for key, members in groups.items():
            turn = next(self._turns.setdefault(key, itertools.count()))
            alone.append(members[turn % len(members)])
        return alone


class _Node:
    """One token of the tree of patterns, so that a thousand hosts' subscriptions cost a message nothing."""

    __slots__ = ("children", "subscriptions")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.subscriptions: list[MemorySubscription] = []

    def node_of(self, tokens: list[str], *, is_wanted: bool = False) -> _Node:
        node = self
        for token in tokens:
            following = node.children.get(token)
            if following is None:
                following = _Node()
                if is_wanted:
                    node.children[token] = following
            node = following
        return node

    def matching(self, tokens: list[str]) -> Iterator[MemorySubscription]:
        if not tokens:
            yield from self.subscriptions
            return
        rest = self.children.get(">")
        if rest is not None:
            yield from rest.subscriptions
        for token in (tokens[0], "*"):
            child = self.children.get(token)
            if child is not None:
                yield from child.matching(tokens[1:])


class MemorySubscription:
    """One standing wish of one transport."""

    def __init__(self, bus: MemoryBus, owner: MemoryTransport, pattern: str, receiver: base.Receiver, queue: str) -> None:
        self._bus = bus
        self.owner = owner
        self.pattern = pattern
        self.receiver = receiver
        self.queue = queue

    async def unsubscribe(self) -> None:
        """As in base."""
        self._bus.remove(self)


class MemoryTransport:
    """One process's access to a MemoryBus.

    :param max_message_bytes: larger ones are refused, as a real bus would.
    """

    def __init__(self, bus: MemoryBus, max_message_bytes: int = 900_000) -> None:
        self._bus = bus
        self._max_message_bytes = max_message_bytes
        self._subscriptions: list[MemorySubscription] = []
        #: In the order in which they began.
        self._deliveries: dict[asyncio.Task[None], None] = {}
        self._waiting: dict[asyncio.Future[bytes], None] = {}
        self._is_open = False
        self._is_severed = False

    async def open(self) -> None:
        """As in base."""
        self._is_open = True

    async def close(self) -> None:
        """As in base."""
        self._is_open = False
        self._unsubscribe_all()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(errors.BusUnavailable(detail="closed while waiting for an answer"))
        # A handler may close the very transport that called it; it must not wait for itself.
        deliveries = [task for task in self._deliveries if task is not asyncio.current_task()]
        for task in deliveries:
            task.cancel()
        await asyncio.gather(*deliveries, return_exceptions=True)

    def sever(self) -> None:
        """Cut this process off as its death would: nothing comes in or goes out any more, and it is not told.

        Its requests under way time out, its handlers run on unheard; the others find nobody subscribing.
        """
        self._is_severed = True
        self._unsubscribe_all()

    @property
    def problem(self) -> str | None:
        """As in base."""
        return None if self._is_open else "it is closed"

    @property
    def max_message_bytes(self) -> int:
        """As in base."""
        return self._max_message_bytes

    async def publish(self, subject: str, data: bytes) -> None:
        """As in base."""
        self._check(subject, data)
        for subscription in self._recipients(subject):
            subscription.owner.deliver(subscription.receiver, subject, data, None)

    async def request(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        """As in base."""
        self._check(subject, data)
        recipients = self._recipients(subject)
        if not recipients and not self._is_severed:
            raise base.NoResponders(subject)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = None
        try:
            for subscription in recipients:
                subscription.owner.deliver(subscription.receiver, subject, data, _Reply(self, answer))
            async with asyncio.timeout(timeout_seconds):
                return await answer
        except TimeoutError:
            raise base.NoAnswer(subject) from None
        finally:
            self._waiting.pop(answer, None)

    async def subscribe(self, pattern: str, receiver: base.Receiver, queue: str = "") -> base.Subscription:
        """As in base."""
        self._check(pattern, b"")
        subscription = MemorySubscription(self._bus, self, pattern, receiver, queue)
        if not self._is_severed:
            self._bus.add(subscription)
            self._subscriptions.append(subscription)
        return subscription

    def deliver(self, receiver: base.Receiver, subject: str, data: bytes, reply: _Reply | None) -> None:
        """Call the receiver in a task of its own. Called by the sender's transport."""
        # An empty context: what the sender has bound for its own log lines is not the receiver's.
        task = asyncio.get_running_loop().create_task(self._run(receiver, subject, data, reply), context=contextvars.Context())
        self._deliveries[task] = None
        task.add_done_callback(self._delivered)

    async def _run(self, receiver: base.Receiver, subject: str, data: bytes, reply: _Reply | None) -> None:
        if self._is_severed:
            return
        try:
            answer = await receiver(subject, data)
        except Exception:
            _log.exception("A receiver raised, which it must not; the message is lost", subject=subject)
            return
        if reply is not None and answer is not None and not self._is_severed:
            reply.send(answer)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._deliveries.pop(task, None)

    def heard(self) -> bool:
        """Whether answers still reach this process."""
        return self._is_open and not self._is_severed

    def _recipients(self, subject: str) -> list[MemorySubscription]:
        return [] if self._is_severed else self._bus.recipients(subject)

    def _unsubscribe_all(self) -> None:
        for subscription in self._subscriptions:
            self._bus.remove(subscription)
        self._subscriptions.clear()

    def _check(self, subject: str, data: bytes) -> None:
        if not self._is_open:
            raise errors.BusUnavailable(detail="this process's access to it is closed")
        if len(data) > self._max_message_bytes:
            raise errors.MessageTooLarge(message_type=subject.rpartition(".")[2], size=len(data), limit=self._max_message_bytes)


class _Reply:
    """Where one answer goes: to the requester, once, while it waits."""

    def __init__(self, requester: MemoryTransport, answer: asyncio.Future[bytes]) -> None:
        self._requester = requester
        self._answer = answer

    def send(self, data: bytes) -> None:
        if self._requester.heard() and not self._answer.done():
            self._answer.set_result(data)
