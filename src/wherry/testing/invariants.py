# SPDX-License-Identifier: Apache-2.0
"""What must hold once everything has come to rest, whatever happened before: the record, the hypervisors and the files agree.

Looks only; the hypervisors' truth is the simulated world's own state, never what a driver says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from wherry import clock as clocks
from wherry.agent import journal
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import actions as instance_action_records
from wherry.db.repositories import servers
from wherry.drivers import simulated
from wherry.model import guest, host, instance_actions, migration, operation, server, states
from wherry.testing import born, moved

_S = guest.GuestState
_GOOD = frozenset({states.Status.COMPLETED, states.Status.FINISHED, states.Status.CONFIRMED, states.Status.REVERTED})


class System(Protocol):
    """What is looked at: a cloud, or a simulation's system."""

    @property
    def world(self) -> simulated.World:
        """The hypervisors' truth."""

    @property
    def store(self) -> stores.Store:
        """The records."""

    @property
    def clock(self) -> clocks.Clock:
        """Whose time it is."""

    def uuid(self, name: str) -> str:
        """Give the uuid of the guest of that name."""

    def journals(self) -> Iterator[tuple[str, bytes]]:
        """Give every note of every agent's journal, with its host."""

    async def until(self, condition: Callable[[], Any], *, seconds: float = 600.0) -> Any:
        """Wait until a condition gives something true."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Allowances:
    """What is known to be otherwise than it was, by names of guests."""

    #: Somebody else stopped, moved or paused them meanwhile: their state is the test's to look at.
    touched: Collection[str] = ()
    #: Their power was changed on request: only the record must say how they are.
    powered: Collection[str] = ()
    #: Both hosts' parts of these are kept as evidence, and their servers are in error.
    kept: Collection[str] = ()
    #: Whether cleaning may still be owed to a host that is away.
    is_owing: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything that hypervisors and storage hold at one moment."""

    #: By host and guest: its state, and whether it is only on its way in.
    guests: dict[str, dict[str, tuple[guest.GuestState, bool]]]
    #: Size of each file, by directory as one host mounts it: (host, directory).
    files: dict[tuple[str, str], dict[str, int]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Story:
    operation: operation.Operation
    migration: migration.Migration
    action: instance_actions.InstanceAction


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """The allowances, by uuid."""

    others: frozenset[str]
    powered: frozenset[str]
    kept: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Records:
    stories: list[_Story]
    servers: dict[str, server.Server]
    hosts: list[host.Host]
    intents: list[str]
    chores: int
    actions: list[instance_actions.InstanceAction]

    @property
    def migrations(self) -> list[migration.Migration]:
        """The records of all migrations, newest first."""
        return [one.migration for one in self.stories]


def snapshot(world: simulated.World) -> Snapshot:
    """Write down what is where."""
    return Snapshot(
        guests={
            name: {uuid: (local.state, local.is_incoming) for uuid, local in here.guests.items()} for name, here in world.hosts.items()
        },
        files={(name, directory): dict(store.files) for name, here in world.hosts.items() for directory, store in here.stores.items()},
    )


async def at_rest(cloud: System, *, seconds: float = 3000.0) -> None:
    """Wait until no operation is open, nothing is owed, and each host's inventory has had its time."""

    async def is_at_rest() -> bool:
        async def unit(uow: uows.UnitOfWork) -> bool:
            is_done = not await uow.operations.list_open()
            return is_done and not (await uow.chores.list() or await uow.operations.operations_with_pending_intents())

        return await cloud.store.read(unit)

    await cloud.until(is_at_rest, seconds=seconds)
    # The notes' last writes, and the inventories that a migration's end calls for.
    await cloud.clock.sleep(1.0)


async def hold(cloud: System, before: Snapshot, *, touched: Collection[str] = (), is_owing: bool = False) -> None:
    """Make sure that all invariants hold, now that everything is at rest.

    :param before: what was where before the migrations.
    :param touched: names of guests that somebody else stopped, moved or paused meanwhile: their state is the test's to look at.
    :param is_owing: whether cleaning may still be owed to a host that is away.
    :raises AssertionError: naming each that does not.
    """
    found, story = await problems(cloud, before, Allowances(touched=touched, is_owing=is_owing))
    if found:
        raise AssertionError("These invariants do not hold:\n  " + "\n  ".join(found) + f"\n{story}")


async def problems(cloud: System, before: Snapshot, allowed: Allowances) -> tuple[list[str], str]:
    """Give what does not hold, and the records' story of everything."""
    records = await cloud.store.read(_read)
    after = snapshot(cloud.world)
    known = _Known(
        others=frozenset(cloud.uuid(name) for name in allowed.touched),
        powered=frozenset(cloud.uuid(name) for name in allowed.powered),
        kept=frozenset(cloud.uuid(name) for name in allowed.kept),
    )
    found = [*_of_stories(records), *_of_guests(records, before, after, known)]
    found += moved.of_contents(cloud.world, records.servers.values(), records.migrations)
    reset = {action.instance_uuid for action in records.actions if action.action == instance_actions.ActionName.RESET_STATE}
    found += born.of_servers(cloud.world, [one for one in records.servers.values() if one.uuid not in known.others], reset)
    if not allowed.is_owing:
        found += [
            *_of_leftovers(records, cloud.world),
            *_of_files(records, cloud.world, before, after),
            *_of_journals(cloud, records, known),
        ]
    return found, _told(records)


async def come_to_hold(cloud: System, before: Snapshot, *, touched: Collection[str] = (), seconds: float = 3000.0) -> None:
    """Wait until everything is at rest, then make sure that all invariants hold."""
    await at_rest(cloud, seconds=seconds)
    await hold(cloud, before, touched=touched)


async def _read(uow: uows.UnitOfWork) -> _Records:
    stories, actions = [], []
    for record in await uow.migrations.list():
        of = await uow.operations.get(record.uuid)
        stories.append(_Story(operation=of, migration=record, action=await uow.actions.get(record.instance_uuid, of.request_id)))
    found = await uow.servers.list(servers.ServerQuery(deleted=None))
    for one in found:
        listed = await uow.actions.list(instance_action_records.ActionQuery(instance_uuid=one.uuid))
        actions += [await uow.actions.get(one.uuid, action.request_id) for action in listed]
    return _Records(
        stories=stories,
        servers={one.uuid: one for one in found},
        hosts=await uow.hosts.list(),
        intents=await uow.operations.operations_with_pending_intents(),
        chores=len(await uow.chores.list()),
        actions=actions,
    )


def _of_stories(records: _Records) -> Iterator[str]:
    """Each migration has ended, its server is free, and its request id tells all of it."""
    for one in records.stories:
        yield from _of_story(one)
    for server_record in records.servers.values():
        if server_record.task_state is not None:
            yield f"{server_record.name} is left in task_state {server_record.task_state.value}"
        if server_record.progress != 0:
            yield f"{server_record.name} is left at a progress of {server_record.progress}"
    for action in records.actions:
        # A reset has no stage of its own.
        if not action.events and action.action != instance_actions.ActionName.RESET_STATE:
            yield f"action {action.action} has no event"
        for event in action.events:
            if event.finished_at is None or event.result is None:
                yield f"event {event.name} of action {action.action} is open"
    if records.intents:
        yield f"{len(records.intents)} operations have an intent that nobody answered"


def _of_story(one: _Story) -> Iterator[str]:
    record, name = one.migration, f"migration {one.migration.id}"
    is_resting = record.status in states.RESTING
    if record.status not in states.TERMINAL and not is_resting:
        yield f"{name} is {record.status.value} still"
        return
    if (
        one.operation.step is not operation.StepName.DONE
        or one.operation.finished_at is None
        or is_resting is (record.finished_at is not None)
    ):
        yield f"{name} is {record.status.value}, but its operation stands at {one.operation.step.value}"
    if record.status not in _GOOD and record.reason is None:
        yield f"{name} is {record.status.value} without a reason"
    if record.status not in _GOOD and one.action.message != "Error":
        yield f"{name} is {record.status.value}, but its action does not say that anything failed"
    if not any(event.name.startswith("conductor_") for event in one.action.events):
        yield f"{name}'s action has no event of the conductor"


def _of_leftovers(records: _Records, world: simulated.World) -> Iterator[str]:
    """Nothing is held, claimed, owed or under way."""
    for here in records.hosts:
        if here.usage.incoming_migrations or here.usage.outgoing_migrations:
            yield f"{here.name} has {here.usage.incoming_migrations} incoming and {here.usage.outgoing_migrations} outgoing migrations"
    yield from moved.of_usage([(one.operation, one.migration) for one in records.stories], records.servers.values(), records.hosts)
    if records.chores:
        yield f"{records.chores} chores are owed"
    for transfer in world.copying.active.values():
        yield f"a transfer of {transfer.order.spec.name} is under way"


def _of_guests(records: _Records, before: Snapshot, after: Snapshot, known: _Known) -> Iterator[str]:
    """Each guest is on one host, the record's, in the state that it had; and nothing else is anywhere."""
    were = {uuid: state for guests in before.guests.values() for uuid, (state, _) in guests.items()}
    are: dict[str, dict[str, guest.GuestState]] = {}
    for name, guests in after.guests.items():
        for uuid, (state, is_incoming) in guests.items():
            are.setdefault(uuid, {})[name] = state
            if is_incoming and uuid not in known.kept:
                yield f"{name} has an incoming guest {uuid}"
    for uuid in sorted({*were, *are}):
        places = are.get(uuid, {})
        active = [name for name, state in places.items() if state is not _S.SHUT_OFF]
        if uuid in known.kept or born.is_out(records.servers.get(uuid)):
            continue
        unconfirmed = moved.unconfirmed(records.migrations, uuid)
        if unconfirmed is not None and uuid not in known.others:
            yield from moved.of_two_places(unconfirmed, places)
            places = {name: state for name, state in places.items() if name == unconfirmed.dest_compute}
        if len(places) > 1 and (len(active) > 1 or uuid not in known.others):
            yield f"guest {uuid} is on {places}"
        elif not places and uuid not in known.others:
            yield f"guest {uuid} is nowhere"
        elif uuid not in known.others:
            was = None if uuid in known.powered else were.get(uuid)
            yield from _of_place(uuid, next(iter(places.items())), was, records.servers.get(uuid))


def _of_place(uuid: str, place: tuple[str, guest.GuestState], was: guest.GuestState | None, record: server.Server | None) -> Iterator[str]:
    where, state = place
    if was is not None and state is not was:
        yield f"guest {uuid} is {state.value}, it was {was}"
    if record is None or record.host != where:
        yield f"guest {uuid} is on {where}, the record says {record.host if record else 'nothing'}"
    elif (record.vm_state, record.power_state) != moved.states_of(record, state):
        yield f"guest {uuid} is {state.value}, the record says {record.vm_state.value} and {record.power_state.name}"


def _of_files(records: _Records, world: simulated.World, before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Every file is as it was; what was copied along in a migration that completed is at its destination too."""
    expected = {place: dict(files) for place, files in before.files.items()}
    moved.add_files(world, [(one.operation, one.migration) for one in records.stories], expected, after.files)
    born.place_files(world, records.servers.values(), expected, after.files)
    for place, files in after.files.items():
        if files != expected[place]:
            yield f"{place[0]} has {sorted(files.items())} in {place[1]}, expected {sorted(expected[place].items())}"


def _of_journals(cloud: System, records: _Records, known: _Known) -> Iterator[str]:
    """The notes of a migration that touched a host end with its end there."""
    ended = {one.migration.uuid: one for one in records.stories}
    for host_name, note in cloud.journals():
        entry = journal.Entry.model_validate_json(note)
        story = ended.get(entry.operation_id)
        was_touched = story is not None and story.operation.plan.storage is not None and story.migration.status is not states.Status.ERROR
        if story is not None and (story.migration.status in states.RESTING or story.migration.instance_uuid in known.kept):
            continue
        if entry.end is None and (entry.transfer is not None or entry.created or (was_touched and _is_part(story, host_name))):
            yield f"{host_name}'s notes of migration {entry.operation_id} have no end: {entry.created}, {sorted(entry.stages)}"


def _is_part(story: _Story | None, name: str) -> bool:
    if story is None or not any(event.name.startswith("compute_pre") for event in story.action.events):
        return False
    return name in (story.migration.source_compute, story.migration.dest_compute)


def _told(records: _Records) -> str:
    lines = []
    for one in records.stories:
        record = one.migration
        why = f"{record.reason.slug}: {record.reason.message}" if record.reason else ""
        lines.append(f"migration {record.id} {record.source_compute} -> {record.dest_compute} {record.status.value} {why}")
    for action in records.actions:
        lines.append(f"action {action.action} {action.message or ''}")
        for event in reversed(action.events):
            result = event.result.value if event.result else "open"
            lines.append(f"  {event.name} {event.host} {result} {event.details or ''}")
    return "\n".join(lines)
