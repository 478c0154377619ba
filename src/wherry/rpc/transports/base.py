# SPDX-License-Identifier: Apache-2.0
"""What a transport must do: carry bytes by subject, and say at once when nobody listens.

Knows no message and no host. `wherry.testing.transport_contract` proves an implementation. A subject is tokens divided by dots; a pattern
may hold `*` for one token, and end in `>` for one or more. Everything sent may be lost or doubled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

#: Given subject and data of a delivery; what it gives back is sent to the requester, if there is one. It must not raise.
Receiver = Callable[[str, bytes], Awaitable[bytes | None]]


class NoResponders(Exception):
    """Nobody subscribes to the subject of a request. Known at once, not by waiting."""


class NoAnswer(Exception):
    """Somebody subscribes, and did not answer in time."""


class Subscription(Protocol):
    """One standing wish for messages."""

    async def unsubscribe(self) -> None:
        """Have no further delivery begin. Idempotent; those under way go on."""


class Transport(Protocol):
    """A process's access to the bus."""

    async def open(self) -> None:
        """Connect, or go on trying to until it is closed. Idempotent."""

    async def close(self) -> None:
        """End subscriptions, deliveries and the own requests under way. Idempotent; using it afterwards raises BusUnavailable."""

    @property
    def problem(self) -> str | None:
        """What keeps messages from getting through now, in a few words without addresses; None when nothing is known to."""

    @property
    def max_message_bytes(self) -> int:
        """The largest message that it carries, answers included."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Send to every subscription of the subject, and to one of each queue group. Nobody listening is fine.

        :raises MessageTooLarge: nothing was sent.
        :raises BusUnavailable: nothing was sent, for there is no connection now.
        """

    async def request(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        """Send, and give the first answer.

        :raises NoResponders: at once, when nobody subscribes.
        :raises NoAnswer: after `timeout_seconds`.
        :raises MessageTooLarge: nothing was sent.
        :raises BusUnavailable: at once, when there is no connection or it is lost; in the second case it may have been received.
        :raises BusForbidden: at once, when the bus does not let this process send there.
        """

    async def subscribe(self, pattern: str, receiver: Receiver, queue: str = "") -> Subscription:
        """Have `receiver` called for each message, each in a task of its own; of a queue group, one member in turn is called.

        Stands until it is ended, also where the connection is lost and made again.

        :raises BusForbidden: when the bus does not let this process listen there.
        """
