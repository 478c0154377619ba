# SPDX-License-Identifier: Apache-2.0
"""A process's access to a NATS cluster: subscriptions and requests that outlive any one connection.

Keeps nothing for later: what cannot be sent now fails at once, and its sender knows whether to send it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import itertools
import random
import secrets
from collections.abc import Callable

from nats.aio import msg as nats_msg
from nats.aio import subscription as nats_subscription

from wherry import clock as wherry_clock
from wherry import errors
from wherry.rpc.transports import base
from wherry.rpc.transports.nats import link as links
from wherry.rpc.transports.nats import settings as wherry_settings
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Given the subject of a message and the one it asks to be answered on.
MayAnswer = Callable[[str, str], bool]
#: The server's answer, as a header, where nobody subscribes to the subject of a request.
_STATUS, _NO_RESPONDERS = "Status", "503"


def _anybody(subject: str, reply: str) -> bool:
    del subject, reply
    return True


class NatsTransport:
    """One part's access to the bus, as `base.Transport` says.

    :param inbox: beginning of the subjects on which it gets its answers; of nobody else, and permissions hold it to it.
    :param may_answer: given the subject of a message and the one it asks to be answered on, whether to answer there. Without it, a
        sender could have us write to whomever it likes.
    """

    def __init__(
        self,
        settings: wherry_settings.Settings,
        *,
        inbox: str,
        may_answer: MayAnswer = _anybody,
        clock: wherry_clock.Clock | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or wherry_clock.LoopClock()
        self._name = inbox
        # Whoever could guess it could answer in another's stead.
        self._inbox = f"{inbox}.{secrets.token_hex(16)}"
        self._may_answer = may_answer
        # Not all processes begin with the same server.
        self._servers = random.sample(settings.servers, len(settings.servers))
        self._next_server = 0
        self._link: links.Link | None = None
        self._is_connected = asyncio.Event()
        self._is_open = False
        self._keeper: asyncio.Task[None] | None = None
        self._subscriptions: list[_Subscription] = []
        self._deliveries: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._waiting: dict[str, _Waiting] = {}

    # ------------------------------------------------------------ as in base

    async def open(self) -> None:
        """As in base. Waits a while for the first connection, no longer: a process may be started before its bus."""
        if self._keeper is None:
            self._is_open = True
            self._keeper = asyncio.create_task(self._keep_connected(), name=f"bus connection of {self._name}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.connect_timeout_seconds):
                    await self._is_connected.wait()

    async def close(self) -> None:
        """As in base."""
        if not self._is_open or self._keeper is None:
            return
        self._is_open = False
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        self._fail_all(errors.BusUnavailable(detail="closed while waiting for an answer"))
        # First of all nobody sends us anything more: what came later would be lost without its sender being told.
        await asyncio.gather(*(one.unsubscribe() for one in tuple(self._subscriptions)))
        # A handler may close the very transport that called it; it must not wait for itself.
        deliveries = [task for task in self._deliveries if task is not asyncio.current_task()]
        for task in deliveries:
            task.cancel()
        await asyncio.gather(*deliveries, return_exceptions=True)
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()

    @property
    def problem(self) -> str | None:
        """As in base."""
        if not self._is_open:
            return "it is closed"
        if self._link is None or not self._link.is_alive:
            return "not connected"
        if any(one.is_refused for one in self._subscriptions):
            return "its permissions keep this process from listening"
        return None

    @property
    def max_message_bytes(self) -> int:
        """As in base: ours, or the server's limit where it is lower."""
        limit = self._settings.max_message_bytes
        return limit if self._link is None else min(limit, self._link.max_message_bytes)

    async def publish(self, subject: str, data: bytes) -> None:
        """As in base."""
        await self._usable(subject, data).publish(subject, data)

    async def request(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        """As in base."""
        link = self._usable(subject, data)
        deadline = self._clock.monotonic() + timeout_seconds
        token = f"{next(self._numbers):x}"
        waiting = self._waiting[token] = _Waiting(subject, asyncio.get_running_loop().create_future())
        try:
            await link.publish(subject, data, f"{self._inbox}.{token}")
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                return await waiting.answer
        except TimeoutError:
            raise base.NoAnswer(subject) from None
        finally:
            del self._waiting[token]

    async def subscribe(self, pattern: str, receiver: base.Receiver, queue: str = "") -> base.Subscription:
        """As in base."""
        self._check_open()
        subscription = _Subscription(self, pattern, receiver, queue)
        self._subscriptions.append(subscription)
        link = self._link
        if link is not None:
            try:
                await subscription.attach(link)
            except errors.BusUnavailable:
                _log.debug("A subscription waits for the next connection.", pattern=pattern)
            except errors.BusForbidden:
                self.forget(subscription)
                raise
        return subscription

    # ------------------------------------------------- for its subscriptions

    def forget(self, subscription: _Subscription) -> None:
        """Attach it to no further connection; one that is gone is fine."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def deliver(self, receiver: base.Receiver, message: nats_msg.Msg) -> None:
        """Call the receiver in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._run(receiver, message), context=contextvars.Context())
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _run(self, receiver: base.Receiver, message: nats_msg.Msg) -> None:
        try:
            answer = await receiver(message.subject, message.data)
        except Exception:
            _log.exception("A receiver raised, which it must not; the message is lost", subject=message.subject)
            return
        if not message.reply or answer is None:
            return
        if not self._may_answer(message.subject, message.reply):
            _log.warning("A message asked for its answer where its sender has no business", subject=message.subject, reply=message.reply)
            return
        link = self._link
        try:
            if link is None:
                raise errors.BusUnavailable(detail="not connected")
            await link.publish(message.reply, answer)
        except errors.BusUnavailable as error:
            _log.info("An answer could not be sent", subject=message.subject, error=error.message)

    # ------------------------------------------------------- the connection

    async def _keep_connected(self) -> None:
        """Connect, and again whenever the connection is lost, until cancelled."""
        pauses = _Pauses(self._settings)
        while True:
            link = await self._connect(pauses)
            begun = self._clock.monotonic()
            self._link = link
            self._is_connected.set()
            _log.info("Connected to the bus.", server=link.place)
            await link.lost()
            self._link = None
            self._is_connected.clear()
            _log.warning("The connection to the bus is lost.", server=link.place)
            self._fail_all(errors.BusUnavailable(detail="the connection was lost while waiting for an answer"))
            await link.close()
            # A server that takes us in only to throw us out is not to be asked in a busy loop.
            if self._clock.monotonic() - begun >= self._settings.reconnect_max_seconds:
                pauses.reset()

    async def _connect(self, pauses: _Pauses) -> links.Link:
        """Try one server after the other, with a pause after each round."""
        told: set[tuple[str, str]] = set()
        while True:
            link = links.Link(self._settings, self._server(), self._name, self._refuse)
            try:
                await link.open()
                await self._attach_all(link)
            except Exception as error:
                # Whatever it is, the next try may go well, and there must be one.
                await link.close()
                self._tell(link, error, told)
            except BaseException:
                await link.close()
                raise
            else:
                return link
            if self._next_server % len(self._servers) == 0:
                await self._clock.sleep(pauses.next_seconds())

    def _tell(self, link: links.Link, error: Exception, told: set[tuple[str, str]]) -> None:
        problem = (link.place, str(error))
        if problem in told:
            return
        told.add(problem)
        is_known = isinstance(error, links.LinkFailed | errors.Error)
        _log.warning("The bus cannot be used; trying again.", server=link.place, error=str(error), exc_info=None if is_known else error)

    def _server(self) -> str:
        server = self._servers[self._next_server % len(self._servers)]
        self._next_server += 1
        return server

    async def _attach_all(self, link: links.Link) -> None:
        """Have a new connection carry what the last one did.

        :raises BusForbidden: when it may not hear its own answers; without any other subscription it is still of use.
        """
        await link.subscribe(f"{self._inbox}.*", "", self._on_answer)
        # One may be made while others are being attached.
        while lacking := [one for one in self._subscriptions if one.link is not link]:
            for one in lacking:
                with contextlib.suppress(errors.BusForbidden):
                    await one.attach(link)

    async def _on_answer(self, message: nats_msg.Msg) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting is None or waiting.answer.done():
            return
        if not message.data and message.headers and message.headers.get(_STATUS) == _NO_RESPONDERS:
            waiting.answer.set_exception(base.NoResponders(waiting.subject))
        else:
            waiting.answer.set_result(message.data)

    def _refuse(self, subject: str) -> None:
        """Fail what waits for an answer from where the server does not let us send. The subject has lost its capitals."""
        for waiting in self._waiting.values():
            if waiting.subject.lower() == subject and not waiting.answer.done():
                waiting.answer.set_exception(errors.BusForbidden(what="send to", subject=waiting.subject))

    def _fail_all(self, error: errors.Error) -> None:
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(type(error)(**error.fields))

    def _usable(self, subject: str, data: bytes) -> links.Link:
        self._check_open()
        if len(data) > self.max_message_bytes:
            raise errors.MessageTooLarge(message_type=subject.rpartition(".")[2], size=len(data), limit=self.max_message_bytes)
        if self._link is None or not self._link.is_alive:
            raise errors.BusUnavailable(detail="not connected; it is being tried")
        return self._link

    def _check_open(self) -> None:
        if not self._is_open:
            raise errors.BusUnavailable(detail="this process's access to it is closed")


class _Subscription:
    """One standing wish, on whichever connection there is."""

    def __init__(self, transport: NatsTransport, pattern: str, receiver: base.Receiver, queue: str) -> None:
        self._transport = transport
        self._pattern = pattern
        self._receiver = receiver
        self._queue = queue
        self._current: nats_subscription.Subscription | None = None
        self.link: links.Link | None = None
        #: Whether the server did not allow it when it was last asked for.
        self.is_refused = False

    async def attach(self, link: links.Link) -> None:
        """Listen on this connection."""
        self.link, self._current, self.is_refused = link, None, False
        try:
            self._current = await link.subscribe(self._pattern, self._queue, self._on_message)
        except errors.BusForbidden:
            self.is_refused = True
            raise

    async def unsubscribe(self) -> None:
        """As in base. What the server sent before it knew is delivered first."""
        self._transport.forget(self)
        current, self._current = self._current, None
        if current is not None and self.link is not None:
            await self.link.drain(current)
            # The last deliveries are tasks by now; let them begin, so that who waits for those under way sees them.
            await asyncio.sleep(0)

    async def _on_message(self, message: nats_msg.Msg) -> None:
        self._transport.deliver(self._receiver, message)


@dataclasses.dataclass(frozen=True, slots=True)
class _Waiting:
    """A request under way."""

    subject: str
    answer: asyncio.Future[bytes]


class _Pauses:
    """Pauses between rounds of tries, each twice as long as the one before, and never of the same length in two processes."""

    def __init__(self, settings: wherry_settings.Settings) -> None:
        self._settings = settings
        self._seconds = settings.reconnect_initial_seconds

    def next_seconds(self) -> float:
        seconds = self._seconds
        self._seconds = min(self._settings.reconnect_max_seconds, seconds * 2)
        return seconds * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._seconds = self._settings.reconnect_initial_seconds
