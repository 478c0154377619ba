# SPDX-License-Identifier: Apache-2.0
"""The API as a running service: application, socket and server, in a loop that others share. Handles no signals; `cmd/` does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette import applications

from wherry import clock as wherry_clock
from wherry import config, errors, policies
from wherry.api import app as api_app
from wherry.api import call as api_call
from wherry.api import waiting
from wherry.auth import strategy as auth_strategy
from wherry.db import store as wherry_store
from wherry.rpc import client as rpc_client
from wherry.telemetry import logs
from wherry.telemetry import metrics as wherry_metrics

_log = logs.get_logger(__name__)
#: Connections that the system holds for us while we are busy.
_BACKLOG = 2048


class Api:
    """One API in one process.

    Made, started and stopped in the loop that it serves from; the store, the bus and their closing are its maker's.

    :param new_request_id: makes the ids of requests; given, a run can be repeated exactly
    :raises ConfigInvalid: when authentication or policies are configured so that they cannot be used
    """

    def __init__(
        self,
        settings: config.Config,
        store: wherry_store.Store,
        rpc: rpc_client.Client,
        *,
        clock: wherry_clock.Clock | None = None,
        metrics: wherry_metrics.Metrics | None = None,
        new_request_id: Callable[[], str] = api_app.random_request_id,
    ) -> None:
        self._settings = settings
        clock = clock or wherry_clock.LoopClock()
        self._strategy = auth_strategy.from_config(settings, clock, metrics)
        self.parts = api_call.Parts(
            config=settings,
            clock=clock,
            store=store,
            rpc=rpc,
            enforcer=policies.Enforcer(policies.list_rules(), settings.policy.policy_file),
            waiting=waiting.Waiting(store, clock, settings.api.blocking_poll_interval_seconds),
        )
        self.application: applications.Starlette = api_app.build(self.parts, self._strategy, metrics=metrics, new_request_id=new_request_id)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen and serve; gives the address, with the port that the system chose where the configuration leaves it open.

        :raises ConfigInvalid: when the address cannot be listened on
        """
        listener = _listen(self._settings.api.bind_host, self._settings.api.bind_port)
        host, port = listener.getsockname()[:2]
        server = _Server(
            uvicorn.Config(
                self.application,
                # The loop is running already, and nothing waits for lifespan events.
                loop="none",
                lifespan="off",
                http="httptools",
                ws="none",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(self._settings.api.shutdown_grace_seconds)),
                # Keep-alive longer than the 5 s between a waiting client's polls.
                timeout_keep_alive=75,
            )
        )
        self._server = server
        self._serving = asyncio.create_task(server.serve(sockets=[listener]), name="api-server")
        await server.begun.wait()
        if self._serving.done():
            await self._serving
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}"
        _log.info("The API listens", action="api.started", address=address)
        return address

    async def wait(self) -> None:
        """Return when the server has ended, and raise what ended it if that was an error."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Take no new requests, let those in progress end within [api] shutdown_grace_seconds, then cut them off. Safe to call twice."""
        await self.parts.waiting.close()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            _log.info("The API has stopped", action="api.stopped")
        self._server, self._serving = None, None
        await self._strategy.close()

    def reload_policies(self) -> None:
        """Read the policy file again, as on SIGHUP.

        :raises ConfigInvalid: when it is wrong; the rules in force stay
        """
        self.parts.enforcer.reload()


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
        """Take none: uvicorn would take SIGINT and SIGTERM over, which all-in-one's other parts need too."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio turns Nagle's algorithm off only on sockets that say TCP: with it each answer on a kept connection takes 40 ms
    # more, its head and its body being two writes.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise errors.ConfigInvalid(
            where="[api] bind_host, bind_port",
            problem=f"cannot listen on {host} port {port}: {error.strerror or error}",
            instead="Choose an address of this machine and a port that nothing else listens on.",
        ) from error
    return listener
