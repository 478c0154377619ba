# SPDX-License-Identifier: Apache-2.0
"""Keep the servers' records true to what agents report, outside migrations.

A report may be old: before a server is moved, lost, shown in another state or called a conflict, the hosts concerned are asked again. And
it may be a lie: the word of one host changes nothing about a server of another (docs/adr/0005).
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor import sightings
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import hosts as host_records
from wherry.db.repositories import migrations as migration_records
from wherry.db.repositories import servers as server_records
from wherry.model import guest, server
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Reasons of servers in error of which parts are kept on two hosts.
_KEPT = frozenset({"two_hosts", "post_copy_given_up"})


class Inventory:
    """Applies inventories. Never touches a server with an operation under way."""

    def __init__(self, *, store: stores.Store, agents: clients.Client, clock: clocks.Clock, config: configs.Config) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock
        self._config = config
        interval = config.conductor.inventory_flush_interval_seconds
        self._sightings = sightings.Sightings(store=store, clock=clock, interval_seconds=interval, is_old_news=_is_old_news)

    async def stop(self) -> None:
        """Apply no more of what is gathered."""
        await self._sightings.stop()

    async def apply(self, report: messages.ReportInventory) -> None:
        """Store what one host has; an older report than the last one stored is dropped."""
        if await self._sightings.take_in(report):
            return
        settled = _settled(report)
        known = await self._store.run(self._taken_in(report, settled))
        if known is None:
            _log.info("An old inventory was dropped.", host=report.name, sequence=report.sequence)
            return
        for one in settled:
            record = known.get(one.uuid)
            if record is None or not _may_change(record):
                continue
            if record.host in (None, report.name):
                await self._otherwise(report.name, one, record)
            else:
                await self._elsewhere(report.name, one, record, record.host or "")
        await self._missing(report, known)

    def _taken_in(self, report: messages.ReportInventory, settled: list[guest.Guest]) -> stores.Unit[dict[str, server.Server] | None]:
        """Insert what is new and update what is where it was; give the records as they were, or None for a report that is too old."""

        async def unit(uow: uows.UnitOfWork) -> dict[str, server.Server] | None:
            node = await uow.hosts.accept_inventory(report.name, report.incarnation, report.sequence)
            if node is None:
                return None
            if report.description is not None:
                await uow.hosts.update_description(report.name, report.description)
                node = report.description.hypervisor_hostname
            known = await uow.servers.find([*(one.uuid for one in settled), *report.absent])
            new = [_discovered(one, report.name, node, self._config, uow.now) for one in settled if one.uuid not in known]
            try:
                await uow.servers.insert_all(new)
            except errors.StaleWrite as error:
                _log.info(
                    "A guest was recorded by another host meanwhile and waits for the next inventory.", instance_uuid=error.fields["name"]
                )
            await _settle_disputes(uow, report, known)
            for one in settled:
                before = known.get(one.uuid)
                if before is not None and _may_change(before) and before.host in (None, report.name):
                    changes = _changes(one, before, report.name, node)
                    await _update(uow, before, {} if _is_of_state(changes) else changes)
            return known

        return unit

    async def measure(self, instance_uuid: str) -> messages.GuestMeasured:
        """Have a server's host give what its guest has used.

        :raises ServerNotFound: there is no such server, or no host has it.
        """
        question = messages.MeasureGuest(operation_id="", epoch=0, instance_uuid=instance_uuid)
        return await self._agents.call(await self._agent_of(instance_uuid), question)

    async def read_console(self, instance_uuid: str, lines: int | None) -> messages.ConsoleRead:
        """Have a server's host give the end of its console.

        :raises ServerNotFound: there is no such server, or no host has it.
        """
        question = messages.ReadConsole(operation_id="", epoch=0, instance_uuid=instance_uuid, lines=lines)
        return await self._agents.call(await self._agent_of(instance_uuid), question)

    async def _agent_of(self, instance_uuid: str) -> addresses.Address:
        record = await self._store.read(lambda uow: uow.servers.get(instance_uuid))
        if record.host is None:
            raise errors.ServerNotFound(uuid=instance_uuid)
        return addresses.agent(record.host)

    async def _otherwise(self, name: str, seen: guest.Guest, record: server.Server) -> None:
        """A server is reported in another state than the record's: ask now, an operation may have ended since it was described."""
        if not _is_of_state(_changes(seen, record, name, record.node or "")):
            return
        state = await self._look(name, seen.uuid)
        if state is not None and state is not guest.GuestState.ABSENT:
            node = await self._store.look(lambda uow: uow.hosts.node_of(name))
            await self._write(record, **_changes(dataclasses.replace(seen, state=state), record, name, node))

    async def _elsewhere(self, name: str, seen: guest.Guest, record: server.Server, recorded: str) -> None:
        """A server is reported by another host than the record's: ask both, now."""
        here = await self._look(name, seen.uuid)
        # A server that was found gone is nowhere; what its last host says no longer matters.
        there = guest.GuestState.ABSENT if record.deleted_at is not None else await self._look(recorded, seen.uuid)
        if here not in _ACTIVE:
            return
        if there is None and here is guest.GuestState.RUNNING and await self._is_given_up(recorded):
            there = guest.GuestState.ABSENT
        # One that waits to be confirmed goes back on request only, whoever starts what its source keeps.
        if there is guest.GuestState.ABSENT and record.vm_state is not server.VmState.RESIZED:
            await self._move(name, seen, record)
        elif here is guest.GuestState.RUNNING or there is guest.GuestState.SHUT_OFF:
            # Else it may be what a migration left here, paused.
            await self._dispute(name, record, there or guest.GuestState.UNREACHABLE)

    async def _is_given_up(self, name: str) -> bool:
        """Whether an operator has said of a silent host that it is dead."""
        found = await self._store.read(lambda uow: uow.hosts.list(host_records.HostQuery(names=[name])))
        return any(one.is_forced_down for one in found)

    async def _dispute(self, name: str, record: server.Server, there: guest.GuestState) -> None:
        """Note one host's word that the record's host does not confirm.

        It is an error of the server only where both run it and a migration has brought them together, as when its closing reply was lost. A
        host that it never had to do with could say so of any server.
        """
        of_both = migration_records.MigrationQuery(instance_uuid=record.uuid, host=name, limit=1)

        async def unit(uow: uows.UnitOfWork) -> tuple[bool, bool]:
            is_new = await uow.disputes.note(record.uuid, name, recorded_host=record.host or "", recorded_state=there)
            return is_new, there is guest.GuestState.RUNNING and bool(await uow.migrations.list(of_both))

        is_new, is_double = await self._store.run(unit)
        if is_new:
            log = _log.error if there is guest.GuestState.RUNNING else _log.warning
            told = {"instance_uuid": record.uuid, "host": name, "recorded_host": record.host, "recorded_state": there.value}
            log("A host says to have a guest that is recorded elsewhere, and the record stays.", **told)
        if is_double and record.reason != "two_hosts":
            _log.error("A guest runs on two hosts.", instance_uuid=record.uuid, host=record.host, other_host=name)
            await self._write(record, vm_state=server.VmState.ERROR, reason="two_hosts")

    async def _missing(self, report: messages.ReportInventory, known: dict[str, server.Server]) -> None:
        """Servers that the record puts on this host and that the report says or shows to be gone: ask again, then believe."""
        gone = _said_to_be_gone(report, known)
        if report.is_complete:
            listed = {one.uuid for one in report.guests} | set(report.described_before)
            recorded = await self._store.look(lambda uow: uow.servers.on_host(report.name))
            gone = [one for one in recorded if one.uuid in report.absent or one.uuid not in listed]
        for record in filter(_is_free, gone):
            if record.vm_state is server.VmState.RESIZED:
                # The host that it came from keeps it still: it is not gone while it can go back.
                _log.warning("The guest of a resized server is gone.", instance_uuid=record.uuid, host=report.name)
                continue
            if record.vm_state is server.VmState.ERROR and record.reason in _KEPT:
                # What there is of it elsewhere is kept for a person, who finds it by this server.
                _log.warning("One of the two parts of a server's guest is gone.", instance_uuid=record.uuid, host=report.name)
                continue
            if await self._look(report.name, record.uuid) is guest.GuestState.ABSENT:
                _log.info("A server's guest is gone.", instance_uuid=record.uuid, host=report.name)
                await self._write(record, vm_state=server.VmState.DELETED, deleted_at=self._clock.now())

    async def _look(self, name: str, uuid: str) -> guest.GuestState | None:
        """Give what a host shows now; None when it does not answer, which says nothing."""
        try:
            answer = await self._agents.call(addresses.agent(name), messages.ObserveGuest(operation_id="", epoch=0, instance_uuid=uuid))
        except errors.Error as error:
            _log.info("A host could not be asked about a guest.", host=name, instance_uuid=uuid, slug=error.slug)
            return None
        return answer.observation.state

    async def _move(self, name: str, seen: guest.Guest, record: server.Server) -> None:
        _log.info("A server was moved by someone else.", instance_uuid=record.uuid, source=record.host, destination=name)
        node = await self._store.look(lambda uow: uow.hosts.node_of(name))
        await self._write(record, **_changes(seen, record, name, node))

    async def _write(self, record: server.Server, **changes: Any) -> None:
        await self._store.run(lambda uow: _update(uow, record, changes))


async def _update(uow: uows.UnitOfWork, record: server.Server, changes: dict[str, Any]) -> None:
    """Change a record, unless somebody else has: a migration, as a rule."""
    if not changes:
        return
    try:
        await uow.servers.update(record, **changes)
    except errors.StaleWrite:
        _log.info("A server was written by another meanwhile and waits for the next inventory.", instance_uuid=record.uuid)


async def _settle_disputes(uow: uows.UnitOfWork, report: messages.ReportInventory, known: dict[str, server.Server]) -> None:
    """Forget what the host does not claim any more, and what has become true or idle since."""
    listed = {one.uuid: one for one in report.guests}
    for dispute in await uow.disputes.list(report.name):
        seen, record = listed.get(dispute.instance_uuid), known.get(dispute.instance_uuid)
        if seen is not None:
            is_over = seen.state not in _ACTIVE or record is None or record.host == report.name or _is_deleted(record)
        else:
            is_there = dispute.instance_uuid in report.described_before
            is_over = dispute.instance_uuid in report.absent or (report.is_complete and not is_there)
        if is_over:
            await uow.disputes.remove(dispute.id)


def _is_old_news(report: messages.ReportInventory, node: str, known: Mapping[str, server.Server]) -> bool:
    """Whether applying a report that is not complete, and whose host disputes nothing, would change nothing."""
    for one in _settled(report):
        record = known.get(one.uuid)
        if record is None or (_may_change(record) and _changes(one, record, report.name, node)):
            return False
    return not any(_is_free(one) for one in _said_to_be_gone(report, known))


def _settled(report: messages.ReportInventory) -> list[guest.Guest]:
    """Give the guests that are where they are shown, and not on their way there."""
    return [one for one in report.guests if not one.is_incoming]


def _said_to_be_gone(report: messages.ReportInventory, known: Mapping[str, server.Server]) -> list[server.Server]:
    """Give the servers that the record puts on this host and of which the report says that they are not there."""
    found = (known[uuid] for uuid in report.absent if uuid in known)
    return [one for one in found if one.host == report.name and one.deleted_at is None]


def _may_change(record: server.Server) -> bool:
    """Whether what a host shows of its guest may change it."""
    return _is_free(record) and not _is_deleted(record)


def _is_free(record: server.Server) -> bool:
    """Whether no operation is under way, which would say itself where its server is, and how it is."""
    return record.task_state is None


def _is_deleted(record: server.Server) -> bool:
    """Whether somebody asked for its deletion: what a host still shows of it is on its way out, and no server any more."""
    return record.reason == server.DELETED_ON_REQUEST


_ACTIVE = frozenset({guest.GuestState.RUNNING, guest.GuestState.PAUSED})


def _discovered(one: guest.Guest, name: str, node: str, config: configs.Config, now: datetime.datetime) -> server_records.NewServer:
    vm_state, power_state = server.STATES_OF_GUEST.get(one.state, (server.VmState.ACTIVE, server.PowerState.NOSTATE))
    return server_records.NewServer(
        uuid=one.uuid,
        name=one.name,
        project_id=one.project_id or config.agent.default_project_id,
        user_id=config.agent.default_project_id,
        host=name,
        node=node,
        vm_state=vm_state,
        power_state=power_state,
        memory_mib=one.memory_mib,
        vcpus=one.vcpus,
        root_gib=one.root_gib,
        disks=one.disks,
        launched_at=now,
    )


def _is_of_state(changes: Mapping[str, Any]) -> bool:
    return not changes.keys().isdisjoint(("vm_state", "power_state"))


def _changes(one: guest.Guest, before: server.Server, name: str, node: str) -> dict[str, Any]:
    """Give the fields that the guest shows differently from the record; nothing for an unremarkable one."""
    is_suspended = before.vm_state is server.VmState.SUSPENDED and one.state is guest.GuestState.SHUT_OFF
    if before.vm_state is server.VmState.ERROR or is_suspended:
        states: tuple[server.VmState, server.PowerState] = (before.vm_state, before.power_state)
    elif before.vm_state is server.VmState.RESIZED:
        # Until somebody confirms or reverts, whatever the guest does meanwhile.
        states = (before.vm_state, server.STATES_OF_GUEST.get(one.state, (before.vm_state, before.power_state))[1])
    else:
        states = server.STATES_OF_GUEST.get(one.state, (before.vm_state, before.power_state))
    wanted: dict[str, Any] = {
        "host": name,
        "node": node,
        "vm_state": states[0],
        "power_state": states[1],
        "disks": one.disks,
        "deleted_at": None,
    }
    if before.birth is None:
        # What a server was made with is its own; the name of its guest is another.
        wanted |= {"name": one.name, "memory_mib": one.memory_mib, "vcpus": one.vcpus, "root_gib": one.root_gib}
    return {field: value for field, value in wanted.items() if getattr(before, field) != value}
