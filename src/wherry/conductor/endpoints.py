# SPDX-License-Identifier: Apache-2.0
"""What the conductor answers on the bus. Thin: each method names who does the work."""

from __future__ import annotations

import dataclasses

from wherry import background as backgrounds
from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor import chores as chore_keeping
from wherry.conductor import facts, feasibility, heartbeats, intake, inventory, progress
from wherry.conductor import orchestrator as orchestrators
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import hosts as host_records
from wherry.model import instance_actions, migration, operation
from wherry.rpc import addresses, instance_events, messages
from wherry.rpc import client as clients
from wherry.rpc import server as servers
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_FACTS: dict[type[messages.TransferFact], operation.ReportKind] = {
    messages.TransferStarted: operation.ReportKind.TRANSFER_STARTED,
    messages.PostCopyStarted: operation.ReportKind.POST_COPY_STARTED,
    messages.ActionTaken: operation.ReportKind.ACTION_TAKEN,
    messages.TransferEnded: operation.ReportKind.TRANSFER_ENDED,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """The conductor's surface. `events` is where wrap_instance_event writes."""

    store: stores.Store
    clock: clocks.Clock
    config: configs.Config
    orchestrator: orchestrators.Orchestrator
    #: The way to the other conductors.
    conductors: clients.Client
    inventory: inventory.Inventory
    progress: progress.ProgressWriter
    heartbeats: heartbeats.Heartbeats
    chores: chore_keeping.Chores
    events: instance_events.EventSink
    background: backgrounds.Background
    feasibility: feasibility.Feasibility
    intake: intake.Intake = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        made = intake.Intake(check=self.check, clock=self.clock, config=lambda: self.orchestrator.config, background=self.background)
        object.__setattr__(self, "intake", made)

    def register(self, server: servers.Server) -> None:
        """Name the handler of each message."""
        api, agent = addresses.Role.API, addresses.Role.AGENT
        server.register(messages.LiveMigrateServer, self._on_live_migrate, only_from=api)
        server.register(messages.MigrateServer, self._on_migrate, only_from=api)
        server.register(messages.CheckLiveMigration, self._on_check, only_from=api)
        server.register(messages.MeasureServer, self._on_measure, only_from=api)
        server.register(messages.ShowConsole, self._on_console, only_from=api)
        server.register(messages.OperationRecorded, self._on_recorded, only_from=api)
        server.register(messages.IntentRecorded, self._on_intent, only_from=api)
        server.register(messages.OperationChanged, self._on_changed, only_from=addresses.Role.CONDUCTOR)
        server.register(messages.SlotsFreed, self._on_slots_freed, only_from=addresses.Role.CONDUCTOR)
        server.register(messages.RegisterHost, self._on_register, only_from=agent)
        server.register(messages.Heartbeat, self._on_heartbeat, only_from=agent)
        server.register(messages.SignOff, self._on_sign_off, only_from=agent)
        server.register(messages.ReportInventory, self._on_inventory, only_from=agent)
        server.register(messages.TransferProgressed, self._on_progress, only_from=agent)
        for kind in _FACTS:
            server.register(kind, self._on_fact, only_from=agent)

    # ------------------------------------------------- the two ways in

    @instance_events.wrap_instance_event("conductor")
    async def live_migrate_server(self, message: messages.LiveMigrateServer) -> messages.Done:
        """Drive a live migration that nobody waits for, as far as its checks; the rest goes on behind it.

        :raises CheckFailed: when the checks said no; the record says it too.
        """
        await self.orchestrator.checked(message.operation_id)
        return messages.Done()

    @instance_events.wrap_instance_event("conductor")
    async def migrate_server(self, message: messages.MigrateServer) -> messages.ChecksAnswer:
        """Drive a migration whose client waits for the checks: a cold one, a resize, or a live one below microversion 2.34.

        :raises CheckFailed: when the checks said no; the record says it too.
        """
        await self.orchestrator.checked(message.operation_id)
        return messages.ChecksAnswer()

    async def check(self, operation_id: str) -> None:
        """Run the checks of a live migration that nobody waits for, and return when they are over."""
        try:
            await self.live_migrate_server(messages.LiveMigrateServer(operation_id=operation_id))
        except errors.LeaseLost:
            # Another drives it, or its checks are over.
            return
        except errors.Error as error:
            _log.info("The checks ended the migration.", migration_id=operation_id, slug=error.slug, error=error.message)

    async def take_on(self, operation_id: str, *, is_urgent: bool = False) -> None:
        """Go on with an operation that nobody drives, through the same door as its own message would.

        :param is_urgent: do not have it wait for the checks of others.
        """
        found = await self.store.look(lambda uow: uow.operations.get(operation_id))
        if found.step not in operation.CHECKING:
            self.orchestrator.nudge(found.id)
        elif isinstance(found.request, migration.ColdMigrationRequest) or (
            isinstance(found.request, migration.LiveMigrationRequest) and found.request.is_blocking
        ):
            await self._on_migrate("sweep", messages.MigrateServer(operation_id=found.id))
        elif is_urgent:
            await self.check(found.id)
        else:
            self.intake.add(found.id)

    # ------------------------------------------------------- from the api

    async def _on_live_migrate(self, sender: str, message: messages.LiveMigrateServer) -> None:
        del sender
        self.intake.add(message.operation_id)

    async def _on_migrate(self, sender: str, message: messages.MigrateServer) -> messages.ChecksAnswer:
        del sender
        try:
            return await self.migrate_server(message)
        except errors.LeaseLost:
            # Another drives it, or its checks are over. Not an answer about them: the client goes on waiting on the record.
            raise
        except errors.Error as error:
            _log.info("The checks ended the migration.", migration_id=message.operation_id, slug=error.slug, error=error.message)
            return messages.ChecksAnswer(error=error.to_wire())

    async def _on_check(self, sender: str, message: messages.CheckLiveMigration) -> messages.LiveMigrationChecked:
        del sender
        return messages.LiveMigrationChecked(feasibility=await self.feasibility.check(message.instance_uuid, message.request))

    async def _on_measure(self, sender: str, message: messages.MeasureServer) -> messages.GuestMeasured:
        del sender
        return await self.inventory.measure(message.instance_uuid)

    async def _on_console(self, sender: str, message: messages.ShowConsole) -> messages.ConsoleRead:
        del sender
        return await self.inventory.read_console(message.instance_uuid, message.lines)

    async def _on_recorded(self, sender: str, message: messages.OperationRecorded) -> None:
        del sender
        self.orchestrator.nudge(message.operation_id)

    async def _on_intent(self, sender: str, message: messages.IntentRecorded) -> None:
        del sender
        if message.operation_id in self.orchestrator.driven:
            self.orchestrator.nudge(message.operation_id, has_news=True)
        else:
            await self._tell_owner(message.operation_id, has_intent=True)
            # By its own door, so that also a request that is given up before anybody took it on has its event.
            await self.take_on(message.operation_id, is_urgent=True)

    # ------------------------------------------- from the other conductors

    async def _on_changed(self, sender: str, message: messages.OperationChanged) -> None:
        del sender
        if message.operation_id in self.orchestrator.driven:
            self.orchestrator.nudge(message.operation_id, has_news=message.has_intent)

    async def _on_slots_freed(self, sender: str, message: messages.SlotsFreed) -> None:
        del sender
        if message.conductor_id == self.orchestrator.conductor_id:
            return
        if message.operation_ids:
            self.orchestrator.queue.wake(message.operation_ids, within_seconds=message.within_seconds)
        else:
            self.orchestrator.queue.look()

    async def _tell_owner(self, operation_id: str, *, has_intent: bool = False) -> None:
        """Tell whoever drives an operation, at once; the owner's sweep finds it too."""
        try:
            await self.conductors.cast(addresses.conductors(), messages.OperationChanged(operation_id=operation_id, has_intent=has_intent))
        except errors.Error as error:
            _log.debug("The owner finds by itself what was stored.", migration_id=operation_id, slug=error.slug)

    # ---------------------------------------------------- from the agents

    async def _on_register(self, sender: str, message: messages.RegisterHost) -> messages.HostAccepted:
        _must_be(sender, message.name)
        registration = host_records.Registration(
            name=message.name,
            incarnation=message.incarnation,
            description=message.description,
            replaces=frozenset((message.replaces, *message.replaces_earlier)),
            zone=message.zone,
        )
        limit = self.config.default.service_down_time_seconds
        record = await self.store.run(lambda uow: uow.hosts.register(registration, limit))
        _log.info("A host has registered.", host=record.name, incarnation=message.incarnation)
        self.background.spawn(self.chores.pay(record.name), f"pay what {record.name} is owed")
        return messages.HostAccepted(host_id=record.id)

    async def _on_heartbeat(self, sender: str, message: messages.Heartbeat) -> messages.HeartbeatNoted:
        _must_be(sender, message.name)
        is_known = await self.heartbeats.note(message.name, message.incarnation)
        return messages.HeartbeatNoted(is_known=is_known)

    async def _on_sign_off(self, sender: str, message: messages.SignOff) -> None:
        _must_be(sender, message.name)
        await self.store.run(lambda uow: uow.hosts.sign_off(message.name, message.incarnation))

    async def _on_inventory(self, sender: str, message: messages.ReportInventory) -> messages.Done:
        _must_be(sender, message.name)
        await self.inventory.apply(message)
        return messages.Done()

    async def _on_fact(self, sender: str, message: messages.TransferFact) -> messages.Done:
        """Store a fact; whichever conductor receives it answers after the commit, only the owner acts on it."""
        _must_be(sender, message.host)
        report = operation.Report(
            operation_id=message.operation_id,
            epoch=message.epoch,
            sequence=message.sequence,
            kind=_FACTS[type(message)],
            host=message.host,
            body=message.model_dump(mode="json"),
            received_at=self.clock.now(),
        )
        is_plain = not isinstance(message, messages.ActionTaken)

        async def unit(uow: uows.UnitOfWork) -> bool:
            if is_plain and await uow.reports.store_at_once(report):
                return True
            source = (await uow.operations.get(message.operation_id)).plan.source
            if message.host != source:
                raise errors.SenderRefused(sender=message.host, named=f"{source}, the source of migration {message.operation_id}")
            is_new = await uow.reports.store(report)
            if is_new and isinstance(message, messages.ActionTaken):
                await facts.tell(uow, message)
            return is_new

        is_new = await (self.store.put if is_plain else self.store.run)(unit)
        if isinstance(message, messages.TransferEnded):
            self.progress.drop(message.operation_id, message.host)
        if message.operation_id in self.orchestrator.driven:
            # What is doubled here may be new to the driver: the first may have been stored elsewhere, or its commit's answer lost.
            self.orchestrator.nudge(message.operation_id, report=report if is_new else None)
        elif is_new:
            await self._tell_owner(message.operation_id)
        return messages.Done()

    async def _on_progress(self, sender: str, message: messages.TransferProgressed) -> None:
        _must_be(sender, message.host)
        self.progress.note(message.operation_id, sender, message.progress)


class StoredEvents:
    """Where wrap_instance_event writes in the conductor: the rows of the action."""

    def __init__(self, *, store: stores.Store, host: str, orchestrator: orchestrators.Orchestrator) -> None:
        self._store = store
        self._host = host
        self._orchestrator = orchestrator
        #: Whose events are open: server and request, by operation.
        self._open: dict[str, tuple[str, str]] = {}

    async def started(self, name: instance_actions.EventName, message: messages.AboutOperation) -> None:
        """Take the operation up and open the event's row, if it is not open.

        :raises LeaseLost: it is not for this conductor to take up.
        """
        start = instance_actions.EventStart(name=name, host=self._host)
        of = await self._orchestrator.take_up(message.operation_id, start)
        self._open[message.operation_id] = (of.instance_uuid, of.request_id)

    async def finished(
        self, name: instance_actions.EventName, message: messages.AboutOperation, outcome: instance_actions.EventOutcome
    ) -> None:
        """Close the event's row, if the transition that ended the migration has not closed it."""
        where = self._open.pop(message.operation_id, None)
        if where is None:
            # A second message about it was there first.
            return
        finish = instance_actions.EventFinish(name=name, host=self._host, outcome=outcome)

        async def unit(uow: uows.UnitOfWork) -> None:
            await uow.actions.finish_event(*where, finish)

        await self._store.put(unit)


def _must_be(sender: str, named: str) -> None:
    """Make sure that an agent speaks of itself: who sent a message is told by its subject, never by its body."""
    if sender != named:
        raise errors.SenderRefused(sender=sender, named=named)
