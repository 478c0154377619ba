# SPDX-License-Identifier: Apache-2.0
"""One connection to one nats-server, from its making to its loss: what is sent, what comes, and what the server refuses.

Never mends itself: `transport` makes a new one. What nats-py 2.16 does unlike one would think is noted where it is met.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from nats import errors as nats_errors
from nats.aio import client as nats_client
from nats.aio import msg as nats_msg
from nats.aio import subscription as nats_subscription

from wherry import errors
from wherry.rpc.transports.nats import settings as wherry_settings
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

T = TypeVar("T")

#: Called with each message; returns soon, for the next one waits for it.
OnMessage = Callable[[nats_msg.Msg], Awaitable[None]]

#: What nats-py raises where the connection is not as it should be. An IncompleteReadError is an EOFError.
_TROUBLES = (OSError, nats_errors.Error, asyncio.TimeoutError, EOFError)
#: nats-py gives the server's words in small letters, the subject included.
_VIOLATION = re.compile(r"permissions violation for (?P<what>publish|subscription) to \"(?P<subject>[^\"]*)\"")


class _Client(nats_client.Client):
    """nats-py's client, with two changes.

    Its PING overtakes what waits to be written: flush() came back before the server had read a SUB. And it hears of no other servers than
    the one it was given. A cluster names them with each greeting, and nats-py put them, and the one it had given up, back among those to
    try: a cluster that refuses a login was asked a hundred times a second, by a task that swallowed its cancellation each time.
    """

    def __init__(self, before_login: Callable[[], None]) -> None:
        super().__init__()
        self._before_login = before_login

    def _connect_command(self) -> bytes:
        # Asked for once the connection is made, and encrypted if it is going to be.
        self._before_login()
        return super()._connect_command()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info({**info, "connect_urls": None}, initial_connection)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        await self._send_command(nats_client.PING_PROTO)
        await self._flush_pending()


class LinkFailed(Exception):
    """The server could not be reached, or did not let this process in; says why."""


class Link:
    """A connection. Once lost it stays so.

    :param server: its address, nats://HOST:PORT.
    :param name: how the server shows this client to its operator.
    :param on_refused: called with a subject, in small letters, on which the server did not let this process send.
    """

    def __init__(self, settings: wherry_settings.Settings, server: str, name: str, on_refused: Callable[[str], None]) -> None:
        self._settings = settings
        self._server = server
        self._name = name
        self._on_refused = on_refused
        self._client = _Client(self._check_tls)
        self._is_open = False
        self._lost = asyncio.Event()
        self._refused_subscriptions: set[str] = set()
        #: Why the making of it failed, as nats-py told on the way; in the end it says only that no server is left.
        self._trouble: BaseException | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it may be used."""
        return self._is_open and not self._lost.is_set() and bool(self._client.is_connected)

    @property
    def max_message_bytes(self) -> int:
        """The largest message that the server takes."""
        return int(self._client.max_payload)

    @property
    def place(self) -> str:
        """Host and port of the server, for the log."""
        return urllib.parse.urlsplit(self._server).netloc

    async def open(self) -> None:
        """Connect and log in.

        :raises LinkFailed: and nothing is left of it.
        """
        limit = self._settings.connect_timeout_seconds
        try:
            await _apart(self._connect(limit), limit)
            self._check_tls()
        except _TROUBLES as error:
            await self.close()
            cause = self._trouble or error
            raise LinkFailed(f"no answer within {limit:g} s" if isinstance(cause, TimeoutError) else str(cause)) from error
        except BaseException:
            await self.close()
            raise
        self._is_open = True

    async def _connect(self, limit: float) -> None:
        await self._client.connect(
            [self._server],
            name=self._name,
            user=self._settings.user or None,
            password=self._settings.password if self._settings.user else None,
            nkeys_seed_str=self._settings.nkey_seed or None,
            user_credentials=nats_client.RawCredentials(self._settings.credentials) if self._settings.credentials else None,
            tls=self._settings.tls,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            closed_cb=self._on_closed,
            # Without it nats-py closes in the reading task, and an error while it writes what is left keeps it from telling anybody.
            # With it, a loss is told by a task of its own; `_on_disconnected` then keeps that task from connecting anew.
            allow_reconnect=True,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=limit,  # type: ignore[arg-type]  # annotated int, used as a number of seconds
            ping_interval=self._settings.ping_interval_seconds,  # type: ignore[arg-type]  # as above
            max_outstanding_pings=self._settings.max_outstanding_pings,
            flush_timeout=limit,
        )

    async def close(self) -> None:
        """End it, what was sent before included. Idempotent."""
        self._lost.set()
        # It waits for what is not written yet, which on a cut link would take the kernel a quarter of an hour to give up.
        with contextlib.suppress(*_TROUBLES):
            await _apart(self._client.close(), self._settings.connect_timeout_seconds)

    async def lost(self) -> None:
        """Wait until it is lost. Looks for itself, too, since nats-py tells nobody of some deaths (see `_connect`)."""
        while self.is_alive:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.ping_interval_seconds):
                    await self._lost.wait()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send. It is on its way when this returns, not there.

        :raises BusUnavailable: it was not sent.
        """
        try:
            await self._client.publish(subject, data, reply)
        except _TROUBLES as error:
            raise _unavailable() from error

    async def subscribe(self, pattern: str, queue: str, on_message: OnMessage) -> nats_subscription.Subscription:
        """Have it called for every message from now on: the server has heard of the wish when this returns.

        :raises BusForbidden: the server does not allow it.
        :raises BusUnavailable: the connection is lost.
        """
        limit = self._settings.connect_timeout_seconds
        try:
            subscription = await _apart(self._client.subscribe(pattern, queue, cb=on_message), limit)
            await _apart(self._client.flush(limit), limit)  # type: ignore[arg-type]  # annotated int, any number will do
        except _TROUBLES as error:
            raise _unavailable() from error
        # The server's no comes before its answer to the flush.
        if pattern.lower() in self._refused_subscriptions:
            raise errors.BusForbidden(what="listen to", subject=pattern)
        return subscription

    async def drain(self, subscription: nats_subscription.Subscription) -> None:
        """End a subscription after what the server has sent to it already was received: of a queue group, nobody else gets that."""
        if not self.is_alive:
            return
        with contextlib.suppress(*_TROUBLES):
            drain: Coroutine[Any, Any, None] = subscription.drain()  # type: ignore[no-untyped-call]  # its answer is not annotated
            await _apart(drain, self._settings.connect_timeout_seconds)

    # ------------------------------------------------------- nats-py calls these

    async def _on_error(self, error: Exception) -> None:
        violation = _VIOLATION.search(str(error))
        if violation is not None:
            self._on_violation(violation["what"], violation["subject"])
        elif not self._is_open:
            self._trouble = error
        elif isinstance(error, nats_errors.UnexpectedEOF | nats_errors.StaleConnectionError):
            self._lost.set()
        else:
            _log.warning("The bus's client met an error.", server=self.place, error=f"{type(error).__name__}: {error}")

    def _on_violation(self, what: str, subject: str) -> None:
        if what == "subscription":
            _log.error("The bus does not let this process listen.", server=self.place, pattern=subject)
            self._refused_subscriptions.add(subject)
        else:
            _log.error("The bus does not let this process send.", server=self.place, subject=subject)
            self._on_refused(subject)

    async def _on_disconnected(self) -> None:
        self._lost.set()
        if not self._client.is_closed:
            # In the task that would connect anew; `close` cancels it.
            await asyncio.Event().wait()

    async def _on_closed(self) -> None:
        self._lost.set()

    def _check_tls(self) -> None:
        """Refuse a server that does not ask for TLS where we want it: nats-py would go on unencrypted, password included.

        A key's signature shows no key, but whoever is in between could have signed what a server asks him.
        """
        # Nothing public says it before the login.
        information = self._client._server_info
        if self._settings.tls is not None and not information.get("tls_required"):
            raise nats_errors.Error("the server does not speak TLS, which [bus] asks for")


async def _apart(doing: Coroutine[Any, Any, T], limit: float) -> T:
    """Have nats-py do something in a task of its own, and for no longer than this.

    It swallows cancellations that reach it (`_flush_pending`), after which a task that should end goes on for ever. And it hands out some
    that are not meant for the caller: two tasks that wait for a socket's end share asyncio's future, and it cancels one of them.

    :raises TimeoutError: it took too long.
    """
    task = asyncio.create_task(doing)
    # Looked at, so that asyncio does not warn of what went wrong after nobody waited any more.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        done, _ = await asyncio.wait({task}, timeout=limit)
        if not done:
            # What goes on in spite of this has little left to do: each wait in nats-py has the same limit.
            task.cancel()
            await asyncio.wait({task}, timeout=limit)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    if task.cancelled():
        raise nats_errors.Error("the connection was ended")
    return task.result()


def _unavailable() -> errors.BusUnavailable:
    return errors.BusUnavailable(detail="the connection is lost, and is being made again")
