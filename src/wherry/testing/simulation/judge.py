# SPDX-License-Identifier: Apache-2.0
"""What must hold once everything rests, whatever befell: the invariants, and the few outcomes that no design could avert, said narrowly."""

from __future__ import annotations

from wherry.db import uow as uows
from wherry.db.repositories import actions as action_records
from wherry.db.repositories import servers as server_records
from wherry.model import guest, instance_actions, migration, operation, server, states
from wherry.testing import invariants, moved
from wherry.testing.simulation import deeds, system, watch

_S = guest.GuestState
#: Events that tell of what a source did.
_OF_FACTS = frozenset(
    {
        instance_actions.EventName.DEADLINE_APPLIED,
        instance_actions.EventName.DEADLINE_CHANGED,
        instance_actions.EventName.TRANSFER_ACTED_ON,
    }
)


async def judge(of: system.System, before: invariants.Snapshot, hand: deeds.Deeds, watcher: watch.Watch) -> tuple[list[str], str]:
    """Give what does not hold, and the records' story."""
    servers, stories = await of.store.read(_read)
    kept = _kept_as_evidence(servers, hand, watcher)
    late = [servers[uuid].name for uuid in await of.store.read(_asked_to_shut_down) if uuid in servers and _is_slow(of, uuid)]
    allowed = invariants.Allowances(touched=list(hand.touched), powered=[*hand.asking.powered, *late], kept=kept)
    found, story = await invariants.problems(of, before, allowed)
    for name in hand.asking.powered:
        if name not in hand.touched and name not in kept:
            found += _of_power(of, name, stories.get(of.uuid(name), []))
    for name in hand.touched:
        record = servers.get(of.uuid(name))
        found += _of_touched(of, record, hand) if record is not None else []
    found += await of.store.read(_of_facts)
    return found, story


async def _read(uow: uows.UnitOfWork) -> tuple[dict[str, server.Server], dict[str, list[instance_actions.InstanceAction]]]:
    servers = {one.uuid: one for one in await uow.servers.list(server_records.ServerQuery(deleted=None))}
    stories = {}
    for uuid in servers:
        listed = await uow.actions.list(action_records.ActionQuery(instance_uuid=uuid))
        stories[uuid] = [await uow.actions.get(uuid, one.request_id) for one in listed]
    return servers, stories


async def _of_facts(uow: uows.UnitOfWork) -> list[str]:
    """What sources have told of each migration is there without a gap, and each deed that they told of is one event."""
    found = []
    for record in await uow.migrations.list():
        if record.migration_type is not migration.MigrationType.LIVE_MIGRATION:
            continue
        reports = await uow.reports.list(record.uuid)
        known = {report.sequence for report in reports}
        if missing := sorted(set(range(1, max(known, default=0))) - known):
            found.append(f"of the reports on migration {record.id} number {missing} are missing")
        if not reports:
            continue
        told = sum(report.kind is operation.ReportKind.ACTION_TAKEN for report in reports)
        request_id = (await uow.operations.get(record.uuid)).request_id
        events = [event for event in (await uow.actions.get(record.instance_uuid, request_id)).events if event.name in _OF_FACTS]
        if len(events) != told:
            found.append(f"{told} deeds were reported of migration {record.id}, and it has {len(events)} events of them")
    return found


async def _asked_to_shut_down(uow: uows.UnitOfWork) -> list[str]:
    """Give the guests that were asked to shut down for a cold migration which was undone then."""
    asked = []
    for record in await uow.migrations.list():
        is_undone = record.status in (states.Status.FAILED, states.Status.CANCELLED)
        if is_undone and record.migration_type is not migration.MigrationType.LIVE_MIGRATION:
            plan = (await uow.operations.get(record.uuid)).plan
            asked += [record.instance_uuid] if plan.power_off_at is not None else []
    return asked


def _is_slow(of: system.System, uuid: str) -> bool:
    """Whether a guest takes longer to shut down than it has: the undo takes it for one that does not heed it, and it goes off later."""
    specs = [host.guests[uuid].spec for host in of.world.hosts_of(uuid)]
    return any((spec.shutdown_seconds or 0.0) > of.config.conductor.shutdown_timeout_seconds for spec in specs)


def _kept_as_evidence(servers: dict[str, server.Server], hand: deeds.Deeds, watcher: watch.Watch) -> list[str]:
    """Give the guests whose parts are rightly kept on both hosts, with their servers in error.

    A post-copy that broke and was given up, or whose other part somebody destroyed; a guest that both hosts ran after its closing reply
    was lost. That it did so while its source's agent could have suspended it is the watch's to say, which then has said so.
    """
    kept = []
    for record in servers.values():
        is_given_up = record.reason == "post_copy_given_up"
        is_half = record.reason == "two_hosts" and record.name in hand.touched
        is_double = record.reason == "two_hosts" and record.name in hand.unheard and record.name in watcher.doubled
        if record.vm_state is server.VmState.ERROR and (is_given_up or is_half or is_double):
            kept.append(record.name)
    return kept


def _of_power(of: system.System, name: str, story: list[instance_actions.InstanceAction]) -> list[str]:
    """A guest is as the last power action that succeeded left it."""
    wanted = deeds.state_asked(story)
    places = {host.name: host.guests[of.uuid(name)].state for host in of.world.hosts_of(of.uuid(name))}
    if wanted is not None and len(places) == 1 and wanted not in places.values():
        return [f"{name} is {places}, the last power action that succeeded left it {wanted.value}"]
    return []


def _of_touched(of: system.System, record: server.Server, hand: deeds.Deeds) -> list[str]:
    """The record of a guest that somebody else stopped or paused says where it is, and how."""
    places = {host.name: host.guests[record.uuid].state for host in of.world.hosts_of(record.uuid)}
    active = {name: state for name, state in places.items() if state is not _S.SHUT_OFF}
    if not places:
        return [] if record.vm_state is server.VmState.DELETED else [f"{record.name} is nowhere, the record says {record.vm_state.value}"]
    if record.vm_state is server.VmState.ERROR:
        return []
    shown = active or places
    if record.host is None or record.host not in shown:
        return [f"{record.name} is on {places}, the record says {record.host}"]
    if shown[record.host] is _S.PAUSED and record.name not in hand.pausable:
        return [f"{record.name} is {places}, and nobody had it paused but for its migration"]
    expected = moved.states_of(record, shown[record.host])
    if (record.vm_state, record.power_state) != expected:
        return [f"{record.name} is {places}, the record says {record.vm_state.value} and {record.power_state.name}"]
    return []
