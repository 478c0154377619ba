# SPDX-License-Identifier: Apache-2.0
"""Receive messages for one address and have each handled by the handler of its type.

Knows nothing of what the handlers do; a handler's crash ends its message only, and is answered with its traceback.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from wherry import errors
from wherry.rpc import addresses, envelope, messages
from wherry.rpc.transports import base
from wherry.telemetry import logs
from wherry.telemetry import metrics as wherry_metrics

_log = logs.get_logger(__name__)

T = TypeVar("T", bound=messages.Message)

#: Of the messages of one sender that are dropped for one reason, one is told in that time: who floods us must not fill the log as well.
_TELL_INTERVAL_SECONDS = 1.0
#: Senders and reasons remembered for it; a process on a bus without permissions may give itself any name.
_MOST_TOLD = 10_000

#: Given who sent it and the message. What it gives back answers a request; None answers with the reply type's defaults.
Handler = Callable[[str, T], Awaitable[messages.Message | None]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Registered:
    message_type: type[messages.Message]
    handler: Handler[Any]
    only_from: addresses.Role | None


class Server:
    """Everything that one process listens to at one address.

    :param max_concurrent: messages in work at one time; further ones are refused at once, since a queue would only hide the load.
    :param max_per_agent: the same, of the messages of one host's agent.
    :param drain_seconds: longest wait in `stop` for messages in work.
    """

    def __init__(
        self,
        transport: base.Transport,
        address: addresses.Address,
        *,
        max_concurrent: int = 20_000,
        max_per_agent: int = 2_000,
        drain_seconds: float = 10.0,
        metrics: wherry_metrics.Metrics | None = None,
    ) -> None:
        self._transport = transport
        self._address = address
        self._name = address.host or f"the {address.role.value}"
        self._max_concurrent = max_concurrent
        self._max_per_agent = max_per_agent
        self._drain_seconds = drain_seconds
        self._metrics = metrics
        self._handlers: dict[str, _Registered] = {}
        self._subscriptions: list[base.Subscription] = []
        #: In the order in which they began.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        #: How many of them each agent has sent.
        self._of_agents: collections.Counter[str] = collections.Counter()
        #: When it was last said, by the loop's time, that messages are dropped: by reason and sender.
        self._told: dict[tuple[str, str], float] = {}

    def register(self, message_type: type[T], handler: Handler[T], *, only_from: addresses.Role | None = None) -> None:
        """Have messages of this type given to `handler`. Before start().

        :param only_from: what may send it; from others it is refused. None: whoever the bus lets send here.
        """
        self._handlers[message_type.__name__] = _Registered(message_type, handler, only_from)

    async def start(self) -> None:
        """Listen."""
        for address in addresses.heard_at(self._address):
            subscription = await self._transport.subscribe(addresses.pattern(address), self._receive, addresses.queue(address))
            self._subscriptions.append(subscription)

    async def stop(self) -> None:
        """Listen no longer, wait for what is in work, and cancel what takes too long. Idempotent."""
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=self._drain_seconds)
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _receive(self, subject: str, data: bytes) -> bytes | None:
        name = subject.rpartition(".")[2]
        sender = addresses.sender_of(subject) if addresses.role_of(subject) == addresses.Role.AGENT else ""
        limit = self._limit_reached(sender)
        if limit is not None:
            self._drop("too_many", name, subject)
            return envelope.pack_error(errors.TooManyMessages(receiver=self._name, limit=limit, message_type=name))
        task = asyncio.current_task()
        if task is not None:
            self._tasks[task] = None
        if sender:
            self._of_agents[sender] += 1
        try:
            return self._carried(name, subject, await self._handle(name, subject, data))
        finally:
            if task is not None:
                self._tasks.pop(task, None)
            if sender:
                self._of_agents[sender] -= 1
                if not self._of_agents[sender]:
                    del self._of_agents[sender]

    def _limit_reached(self, sender: str) -> int | None:
        if len(self._tasks) >= self._max_concurrent:
            return self._max_concurrent
        return self._max_per_agent if sender and self._of_agents[sender] >= self._max_per_agent else None

    async def _handle(self, name: str, subject: str, data: bytes) -> bytes | None:
        try:
            sealed = envelope.unpack(data)
            registered = self._handler_of(name, sealed)
            self._check_role(registered, name, subject)
            message = envelope.read(registered.message_type, sealed.payload)
        except (errors.MessageInvalid, errors.MessageUnknown) as error:
            reason = "unknown" if isinstance(error, errors.MessageUnknown) else "unreadable"
            self._drop(reason, name, subject, problem=error.message)
            return envelope.pack_error(error)
        except errors.SenderRefused as error:
            self._drop("wrong_sender", name, subject, problem=error.message)
            return envelope.pack_error(error)
        with logs.bound(**({"request_id": sealed.request_id} if sealed.request_id else {})):
            try:
                reply = await registered.handler(addresses.sender_of(subject), message)
                return envelope.pack_reply(_reply(message, reply))
            except errors.Error as error:
                if isinstance(error, errors.SenderRefused):
                    self._drop("wrong_sender", name, subject, problem=error.message)
                elif isinstance(error, errors.Internal):
                    _log.warning("A message ended in an error", message=name, slug=error.slug, error=error.message)
                return envelope.pack_error(error)
            except Exception as error:
                _log.exception("A message's handler crashed", message=name)
                return envelope.pack_error(error)

    def _carried(self, name: str, subject: str, answer: bytes | None) -> bytes | None:
        """Give the answer, or in place of one that the bus would not carry the error that says so: else its receiver would wait in vain."""
        limit = self._transport.max_message_bytes
        if answer is None or len(answer) <= limit:
            return answer
        error = errors.MessageTooLarge(message_type=f"answer to {name}", size=len(answer), limit=limit)
        self._drop("answer_too_large", name, subject, problem=error.message)
        return envelope.pack_error(error)

    def _handler_of(self, name: str, sealed: envelope.Envelope) -> _Registered:
        if sealed.message != name:
            raise errors.MessageInvalid(message_type=name, problem=f"it says that it is {sealed.message}")
        known = self._handlers.get(name)
        if known is None:
            raise errors.MessageUnknown(message_type=name, receiver=self._name)
        return known

    @staticmethod
    def _check_role(registered: _Registered, name: str, subject: str) -> None:
        if registered.only_from not in (None, addresses.role_of(subject)):
            raise errors.SenderRefused(sender=addresses.sender_of(subject), named=f"an {registered.only_from}, which alone may send {name}")

    def _drop(self, reason: str, name: str, subject: str, problem: str = "") -> None:
        if self._metrics is not None:
            self._metrics.rpc_messages_dropped.labels(reason=reason).inc()
        now, key = asyncio.get_running_loop().time(), (reason, addresses.sender_of(subject))
        if now - self._told.get(key, -math.inf) < _TELL_INTERVAL_SECONDS:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[key] = now
        _log.warning("A message was not acted on", reason=reason, message=name, subject=subject, problem=problem or None)


def _reply(message: messages.Message, reply: messages.Message | None) -> messages.Message:
    if reply is not None:
        return reply
    return message.reply_type() if isinstance(message, messages.Request) else messages.Done()
