# SPDX-License-Identifier: Apache-2.0
"""The conductor as a whole: put together, started and stopped. Any number run at once."""

from __future__ import annotations

import uuid

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor import chores as chore_keeping
from wherry.conductor import endpoints, feasibility, heartbeats, inventory, progress, recovery
from wherry.conductor import lease as leases
from wherry.conductor import orchestrator as orchestrators
from wherry.db import store as stores
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.rpc import server as servers
from wherry.telemetry import logs, metrics

_log = logs.get_logger(__name__)


class Conductor:
    """One conductor. `start` returns when it drives; `stop` hands everything over."""

    def __init__(
        self,
        *,
        store: stores.Store,
        client: clients.Client,
        server: servers.Server,
        clock: clocks.Clock,
        config: configs.Config,
        counters: metrics.Metrics,
        conductor_id: str | None = None,
    ) -> None:
        self.id = conductor_id or str(uuid.uuid4())
        self._server = server
        self._client = client
        self._background = backgrounds.Background()
        section, host = config.conductor, config.default.host
        self._lease = leases.Lease(conductor_id=self.id, host=host, store=store, clock=clock, section=section)
        chores = chore_keeping.Chores(store=store, agents=client, lease=self._lease, background=self._background)
        self.orchestrator = orchestrators.Orchestrator(
            store=store,
            agents=client,
            clock=clock,
            config=config,
            lease=self._lease,
            counters=counters,
            chores=chores,
        )
        self._progress = progress.ProgressWriter(store=store, clock=clock, interval_seconds=section.progress_flush_interval_seconds)
        self._heartbeats = heartbeats.Heartbeats(store=store, clock=clock, interval_seconds=section.heartbeat_flush_interval_seconds)
        self._feasibility = feasibility.Feasibility(store=store, agents=client, clock=clock, config=config, conductor_id=self.id)
        self._inventory = inventory.Inventory(store=store, agents=client, clock=clock, config=config)
        surface = endpoints.Endpoints(
            store=store,
            clock=clock,
            config=config,
            orchestrator=self.orchestrator,
            conductors=client,
            inventory=self._inventory,
            progress=self._progress,
            heartbeats=self._heartbeats,
            chores=chores,
            events=endpoints.StoredEvents(store=store, host=host, orchestrator=self.orchestrator),
            background=self._background,
            feasibility=self._feasibility,
        )
        self._recovery = recovery.Recovery(surface, self.id)
        surface.register(server)
        server.register(messages.OperationsLeft, self._on_operations_left, only_from=addresses.Role.CONDUCTOR)

    async def start(self) -> None:
        """Take the lease and listen. What is asked of it is driven from now on; what was left to it waits for `take_up`."""
        await self._lease.acquire()
        await self._server.start()
        self._progress.start()

    def take_up(self) -> None:
        """Begin to take up what has no owner. Where agents start with the conductor: once they listen, or their hosts look down."""
        self._recovery.start()
        self._background.spawn(self.orchestrator.queue.keep(), "queue")
        _log.info("The conductor drives.", conductor=self.id)

    def reload(self, config: configs.Config) -> None:
        """Go on with a configuration that was read again; what needs a restart is as it was."""
        self.orchestrator.reload(config)
        self._feasibility.config = config

    async def stop(self) -> None:
        """Stop listening and driving, then give the lease up, so that another conductor goes on at once."""
        await self._server.stop()
        await self._heartbeats.stop()
        await self._inventory.stop()
        await self._background.stop()
        await self.orchestrator.stop()
        await self._progress.stop()
        await self._lease.release()
        try:
            await self._client.cast(addresses.conductor(), messages.OperationsLeft())
        except errors.Error as error:
            _log.debug("The other conductors find by themselves what is left to them.", slug=error.slug)
        _log.info("The conductor has handed its operations over.", conductor=self.id)

    async def _on_operations_left(self, sender: str, message: messages.OperationsLeft) -> None:
        del sender, message
        await self._recovery.sweep()
