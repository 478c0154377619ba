# SPDX-License-Identifier: Apache-2.0
"""An HTTP server in an event loop that others share: a socket, uvicorn, and an end in order. Handles no signals and knows no path."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from wherry import errors

#: Connections that the system holds for us while we are busy.
_BACKLOG = 2048
#: Between the moment at which requests in progress should have ended and that at which they are cut off.
_LAST_WORDS_SECONDS = 2


class Listener:
    """Serves one application at one address.

    Made, started and stopped in the loop that it serves from.

    :param options: the options that name the address, for the error message.
    :param grace_seconds: longest wait in `stop` for requests in progress.
    """

    def __init__(self, application: Any, host: str, port: int, *, options: str, grace_seconds: float = 1.0) -> None:
        self._application = application
        self._host, self._port = host, port
        self._options = options
        self._grace_seconds = grace_seconds
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen and serve; gives the address, with the port that the system chose where 0 was asked for.

        :raises ConfigInvalid: when the address cannot be listened on
        """
        listening = self._listen()
        host, port = listening.getsockname()[:2]
        self._server = _Server(
            uvicorn.Config(
                self._application,
                # The loop is running already, and nothing waits for lifespan events.
                loop="none",
                lifespan="off",
                http="httptools",
                interface="asgi3",
                ws="none",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=round(self._grace_seconds) + _LAST_WORDS_SECONDS,
                # Keep-alive longer than the 5 s between a waiting client's polls.
                timeout_keep_alive=75,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]), name="http-server")
        await self._server.begun.wait()
        if self._serving.done():
            await self._serving
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def wait(self) -> None:
        """Return when the server has ended, and raise what ended it if that was an error."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def drain(self) -> bool:
        """Take no new requests, and wait for those in progress, but not longer than they may take; say whether all have ended."""
        if self._server is None or self._serving is None:
            return True
        self._server.should_exit = True
        done, _ = await asyncio.wait({self._serving}, timeout=self._grace_seconds)
        return bool(done)

    async def stop(self) -> None:
        """Take no new requests, let those in progress end, cut off what takes too long. Safe to call twice."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        self._server, self._serving = None, None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # Named, since asyncio turns Nagle's algorithm off only on sockets that say TCP: with it each answer on a kept connection takes
        # 40 ms more, its head and its body being two writes.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self._port))
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            raise errors.ConfigInvalid(
                where=self._options,
                problem=f"cannot listen on {self._host} port {self._port}: {error.strerror or error}",
                instead="Choose an address of this machine and a port that nothing else listens on.",
            ) from error
        return listening


class _Server(uvicorn.Server):
    """Uvicorn in a loop that is not its own: signals are left to the process, and somebody waits for the start."""

    def __init__(self, server_config: uvicorn.Config) -> None:
        super().__init__(server_config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self.begun.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none: uvicorn would take SIGINT and SIGTERM over, which the process's other parts need too."""
        yield
