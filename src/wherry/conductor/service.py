# SPDX-License-Identifier: Apache-2.0
"""The conductor as a whole: put together, started and stopped. Any number run at once."""

from __future__ import annotations

import uuid

import structlog

from wherry import clock, config
from wherry.conductor import background, chores, endpoints, inventory, lease, orchestrator, progress, recovery
from wherry.db import store as stores
from wherry.rpc import client, server
from wherry.telemetry import metrics

_log = structlog.get_logger(__name__)


class Conductor:
    """One conductor. `start` returns when it drives; `stop` hands everything over."""

    def __init__(
        self,
        *,
        store: stores.Store,
        client_: client.Client,
        server_: server.Server,
        clock_: clock.Clock,
        config_: config.Config,
        counters: metrics.Metrics,
        conductor_id: str | None = None,
    ) -> None:
        self.id = conductor_id or str(uuid.uuid4())
        self._server = server_
        self._background = background.Background()
        section, host = config_.conductor, config_.default.host
        self._lease = lease.Lease(conductor_id=self.id, host=host, store=store, clock_=clock_, section=section)
        self.orchestrator = orchestrator.Orchestrator(
            store=store, agents=client_, clock_=clock_, config_=config_, lease_=self._lease, counters=counters
        )
        self._progress = progress.ProgressWriter(store=store, clock_=clock_, interval_seconds=section.progress_flush_interval_seconds)
        owed = chores.Chores(store=store, agents=client_, lease_=self._lease, section=section)
        surface = endpoints.Endpoints(
            store=store,
            clock=clock_,
            config=config_,
            orchestrator=self.orchestrator,
            inventory=inventory.Inventory(store=store, agents=client_, clock_=clock_, config_=config_),
            progress=self._progress,
            chores=owed,
            events=endpoints.StoredEvents(store=store, host=host),
            background=self._background,
        )
        self._recovery = recovery.Recovery(
            store=store,
            clock_=clock_,
            section=section,
            surface=surface,
            orchestrator_=self.orchestrator,
            chores_=owed,
            background_=self._background,
        )
        surface.register(server_)

    async def start(self) -> None:
        """Take the lease, listen, and begin to sweep."""
        await self._lease.acquire()
        await self._server.start()
        self._progress.start()
        self._recovery.start()
        _log.info("The conductor drives.", conductor=self.id)

    async def stop(self) -> None:
        """Stop listening and driving, then give the lease up, so that another conductor goes on at once."""
        await self._server.stop()
        await self._background.stop()
        await self.orchestrator.stop()
        await self._progress.stop()
        await self._lease.release()
        _log.info("The conductor has handed its operations over.", conductor=self.id)
