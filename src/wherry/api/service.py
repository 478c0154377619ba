# SPDX-License-Identifier: Apache-2.0
"""The API as a running service: application, socket and server, in a loop that others share. Handles no signals; `cmd/` does."""

from __future__ import annotations

from collections.abc import Callable

from starlette import applications

from wherry import clock as wherry_clock
from wherry import config, listener, policies
from wherry.api import app as api_app
from wherry.api import call as api_call
from wherry.api import waiting
from wherry.auth import strategy as auth_strategy
from wherry.db import store as wherry_store
from wherry.images import sources
from wherry.rpc import client as rpc_client
from wherry.telemetry import health as wherry_health
from wherry.telemetry import logs
from wherry.telemetry import metrics as wherry_metrics

_log = logs.get_logger(__name__)


class Api:
    """One API in one process.

    Made, started and stopped in the loop that it serves from; the store, the bus and their closing are its maker's.

    :param health: the process's; until its start is over, requests are refused, and probes are answered from it
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
        health: wherry_health.Health | None = None,
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
            images=sources.from_config(settings),
        )
        self.application: applications.Starlette = api_app.build(
            self.parts, self._strategy, metrics=metrics, health=health, new_request_id=new_request_id
        )
        self._listener: listener.Listener | None = None

    async def start(self) -> str:
        """Listen and serve; gives the address, with the port that the system chose where the configuration leaves it open.

        :raises ConfigInvalid: when the address cannot be listened on
        """
        section = self._settings.api
        self._listener = listener.Listener(
            self.application,
            section.bind_host,
            section.bind_port,
            options="[api] bind_host, bind_port",
            grace_seconds=section.shutdown_grace_seconds,
        )
        address = await self._listener.start()
        _log.info("The API listens", action="api.started", address=address)
        return address

    async def wait(self) -> None:
        """Return when the server has ended, and raise what ended it if that was an error."""
        if self._listener is not None:
            await self._listener.wait()

    async def stop(self) -> None:
        """Take no new requests, let those in progress end within [api] shutdown_grace_seconds, then cut them off. Safe to call twice."""
        if self._listener is not None and not await self._listener.drain():
            _log.warning("Requests in progress are cut off", action="api.stopping", waiting=self.parts.waiting.count())
        # Who waits for checks is told that the migration goes on.
        await self.parts.waiting.close()
        if self._listener is not None:
            await self._listener.stop()
            _log.info("The API has stopped", action="api.stopped")
        await self._strategy.close()

    def reload(self, settings: config.Config) -> None:
        """Go on with a configuration that was read again, what needs a restart being as it was, and read the policy file again.

        :raises ConfigInvalid: when the policy file is wrong; the rules in force stay
        """
        self.parts.config = settings
        self.parts.enforcer.reload()
