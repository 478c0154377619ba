# SPDX-License-Identifier: Apache-2.0
"""How the parts are put together, whichever processes they run in. Starts nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.rpc import addresses, client, server
from wherry.rpc.transports import base as transports
from wherry.telemetry import health as healths
from wherry.telemetry import metrics

# Each part is loaded where it is made: an agent needs no SQL and no web framework, and is back sooner without them.
if TYPE_CHECKING:
    from wherry.agent import boot_clock
    from wherry.agent import service as agent_service
    from wherry.agent import storage as journal_storage
    from wherry.api import service as api_service
    from wherry.conductor import service as conductor_service
    from wherry.db import store as stores
    from wherry.drivers import base


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What every part of a process shares."""

    config: configs.Config
    clock: clocks.Clock
    metrics: metrics.Metrics

    def client(self, transport: transports.Transport, sender: addresses.Sender) -> client.Client:
        """Make the sending side of one part."""
        return client.Client(
            transport,
            sender,
            timeout_seconds=self.config.bus.rpc_response_timeout_seconds,
            clock=self.clock,
            metrics=self.metrics,
        )

    def server(self, transport: transports.Transport, address: addresses.Address) -> server.Server:
        """Make the listening side of one part."""
        return server.Server(
            transport,
            address,
            max_concurrent=self.config.bus.max_concurrent_messages,
            max_per_agent=self.config.bus.max_concurrent_messages_per_agent,
            drain_seconds=self.config.bus.drain_timeout_seconds,
            metrics=self.metrics,
        )


def require_bus(config: configs.Config) -> None:
    """See to it that the configuration names a bus between processes.

    :raises ConfigInvalid: it does not.
    """
    if config.bus.is_in_memory:
        raise errors.ConfigInvalid(
            where="[bus] transport_url",
            problem="no bus is named, and several processes need one.",
            instead="Name the servers of a NATS cluster, nats://HOST:PORT,…, the same for every process; or run wherry all-in-one.",
        )


def require_shared(config: configs.Config) -> None:
    """See to it that the configuration names a bus, and a database that every process which that bus reaches can share.

    :raises ConfigInvalid: it does not.
    """
    require_bus(config)
    connection = config.database.connection
    if not connection.startswith("sqlite"):
        return
    if ":memory:" in connection or connection == "sqlite://":
        problem = "a database in memory is one process's only."
    elif not config.bus.is_on_this_machine:
        problem = "a SQLite file serves the processes of one machine, and [bus] transport_url names a bus for several."
    else:
        return
    raise errors.ConfigInvalid(
        where="[database] connection",
        problem=problem,
        instead="Write postgresql+asyncpg://USER:PASSWORD@HOST/NAME, the same for every api and conductor.",
    )


def make_transport(config: configs.Config, sender: addresses.Sender) -> transports.Transport:
    """Make one part's own access to the bus between processes: what it may do there hangs on who it is. Connects to nothing yet.

    :raises ConfigInvalid: when [bus] names no such bus, or what it names cannot be used.
    """
    require_bus(config)
    try:
        from wherry.rpc.transports import nats
    except ImportError as error:
        raise errors.ConfigInvalid(
            where="[bus] transport_url",
            problem=f"it names a NATS cluster, and the package for that is missing ({error}).",
            instead="Install wherry[nats].",
        ) from error
    return nats.NatsTransport(nats.settings_of(config.bus), inbox=addresses.inbox(sender), may_answer=addresses.may_be_answered)


def make_api(
    around: Surroundings,
    store: stores.Store,
    transport: transports.Transport,
    health: healths.Health | None = None,
    *,
    new_request_id: Callable[[], str] | None = None,
) -> api_service.Api:
    """Make an api.

    :param health: the process's, until whose start is over the api refuses requests; None = it is started.
    :param new_request_id: makes the ids of requests; given, a run can be repeated exactly.
    """
    from wherry.api import app as api_app
    from wherry.api import service as api_service

    sender = addresses.Sender(addresses.Role.API, around.config.default.host)
    client = around.client(transport, sender)
    return api_service.Api(
        around.config,
        store,
        client,
        clock=around.clock,
        metrics=around.metrics,
        health=health,
        new_request_id=new_request_id or api_app.random_request_id,
    )


async def announce(around: Surroundings, store: stores.Store, address: str, stack: contextlib.AsyncExitStack) -> None:
    """Let an api that listens be seen by `wherry status`, until the stack ends."""
    from wherry.cmd import presence

    seen = presence.Presence(store=store, clock=around.clock, section=around.config.default, address=address)
    await seen.begin()
    stack.push_async_callback(seen.end)


def make_conductor(
    around: Surroundings,
    store: stores.Store,
    transport: transports.Transport,
    conductor_id: str | None = None,
) -> conductor_service.Conductor:
    """Make a conductor."""
    from wherry.conductor import service as conductor_service

    sender = addresses.Sender(addresses.Role.CONDUCTOR, around.config.default.host)
    return conductor_service.Conductor(
        store=store,
        client=around.client(transport, sender),
        server=around.server(transport, addresses.conductor()),
        clock=around.clock,
        config=around.config,
        counters=around.metrics,
        conductor_id=conductor_id,
    )


def make_agent(
    around: Surroundings,
    settings: base.HostSettings,
    transport: transports.Transport,
    *,
    boot: boot_clock.BootClock | None = None,
    driver: base.HypervisorDriver | None = None,
    storage: journal_storage.Storage | None = None,
    incarnation: str | None = None,
) -> agent_service.Agent:
    """Make the agent of one host.

    :param boot: the host's clock since it booted; None = this machine's.
    :param driver: None = the one that the configuration names.
    :param storage: where its journal lies; None = where the configuration says.
    :param incarnation: its own for this start; None = a new uuid.
    """
    from wherry.agent import boot_clock, journal, parts
    from wherry.agent import service as agent_service
    from wherry.agent import storage as journal_storage
    from wherry.drivers import registry
    from wherry.images import sources

    section = around.config.agent

    def max_transfers() -> int:
        # Asked while the agent runs, by when it is made; its configuration may have been read again.
        return made.config.default.max_concurrent_live_migrations

    if driver is None:
        settings = dataclasses.replace(settings, max_transfers=max_transfers)
        driver = registry.load(section.driver)(settings, _section_of(around.config), around.clock)
    if storage is None:
        storage = journal_storage.FileStorage(pathlib.Path(section.journal_path) / settings.name, is_synced=section.journal_fsync)
    made = parts.Parts(
        host=settings,
        driver=driver,
        client=around.client(transport, addresses.Sender(addresses.Role.AGENT, settings.name)),
        server=around.server(transport, addresses.agent(settings.name)),
        config=around.config,
        clock=around.clock,
        boot_clock=boot or boot_clock.MachineBootClock(),
        journal=journal.Journal(storage, around.clock),
        images=sources.from_config(around.config),
        metrics=around.metrics,
        incarnation=incarnation or parts.new_incarnation(),
    )
    return agent_service.Agent(made)


def hosts_of(config: configs.Config) -> list[base.HostSettings]:
    """Give the hosts that this process serves: those of [agent] hosts; none named, the scenario's or the machine itself."""
    from wherry.drivers import base, simulated

    if config.agent.driver == "simulated" and not config.agent.hosts:
        return simulated.hosts(config.simulated)
    return [
        base.HostSettings(name=one.name, connection_uri=one.connection_uri, inbound_address=one.migration_address or "")
        for one in config.agent_hosts()
    ]


def _section_of(config: configs.Config) -> object:
    """Give the driver's own section; a driver of a third party reads the whole."""
    return {"libvirt": config.libvirt, "simulated": config.simulated}.get(config.agent.driver, config)
