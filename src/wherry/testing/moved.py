# SPDX-License-Identifier: Apache-2.0
"""What must hold of cold migrations and resizes once everything has come to rest; a part of `invariants`. Looks only."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wherry.drivers import simulated
from wherry.model import guest, host, migration, operation, server, states

_S = guest.GuestState
#: Ends of a move that may have come to growing a disk in its place or not.
_UNDONE = frozenset({states.Status.FAILED, states.Status.CANCELLED})
_COLD = frozenset({migration.MigrationType.MIGRATION, migration.MigrationType.RESIZE})
_Story = tuple[operation.Operation, migration.Migration]
#: Sizes of files, by the place that holds them: host and directory.
_Files = dict[tuple[str, str], dict[str, int]]


def unconfirmed(records: Sequence[migration.Migration], uuid: str) -> migration.Migration | None:
    """Give the migration of a guest that waits to be confirmed or reverted."""
    return next((one for one in records if one.instance_uuid == uuid and one.status in states.RESTING), None)


def of_two_places(record: migration.Migration, places: Mapping[str, guest.GuestState]) -> Iterator[str]:
    """The destination has the guest, and the source keeps it, off."""
    expected = {record.source_compute, record.dest_compute}
    if set(places) != expected:
        yield f"guest {record.instance_uuid} is on {dict(places)}, and waits between {sorted(map(str, expected))}"
    elif len(expected) == 2 and places[record.source_compute] is not _S.SHUT_OFF:
        yield f"guest {record.instance_uuid} is {places[record.source_compute].value} at the source that only keeps it"


def states_of(record: server.Server, state: guest.GuestState) -> tuple[server.VmState, server.PowerState] | None:
    """Give the states that a server must show whose guest is in this state."""
    shown = server.STATES_OF_GUEST.get(state)
    is_waiting = record.vm_state is server.VmState.RESIZED
    return (server.VmState.RESIZED, shown[1]) if is_waiting and shown is not None else shown


def add_files(
    world: simulated.World, stories: Iterable[_Story], expected: _Files, after: Mapping[tuple[str, str], Mapping[str, int]]
) -> None:
    """Write into what is expected what migrations have made, grown and removed, the oldest first."""
    owned: set[tuple[str, str]] = set()
    for of, record in sorted(stories, key=lambda story: story[1].id):
        storage, new_size = of.plan.storage, of.plan.new_size
        if storage is None:
            continue
        if record.status is states.Status.COMPLETED:
            for disk in storage.copied:
                directory, name = posixpath.split(disk.source)
                expected[record.dest_compute or "", directory][name] = disk.capacity_bytes
                owned.add((record.dest_compute or "", disk.source))
        if record.migration_type not in _COLD or new_size is None:
            continue
        first = next((one.disk.name for one in storage.disks if one.disk.device == "disk"), "")
        for planned in storage.disks:
            disk = planned.disk
            size = max(disk.capacity_bytes, new_size.root_gib << 30) if disk.name == first else disk.capacity_bytes
            file = (*posixpath.split(disk.source), size)
            if planned.treatment is migration.Treatment.COPIED:
                _add_copy(expected, file, record, owned)
            elif planned.treatment is migration.Treatment.SHARED and size > disk.capacity_bytes:
                _grow(world, expected, after, file, record)


def _grow(
    world: simulated.World,
    expected: _Files,
    after: Mapping[tuple[str, str], Mapping[str, int]],
    file: tuple[str, str, int],
    record: migration.Migration,
) -> None:
    """In its place, which is never taken back, nor by a smaller size later; a move that failed may have come to it or not."""
    directory, name, size = file
    store = world.hosts[record.dest_compute or record.source_compute].stores.get(directory)
    for place, files in expected.items():
        # Another host's directory of that name may hold a file that an earlier migration left.
        is_there = place[1] == directory and name in files and world.hosts[place[0]].stores[directory] is store
        if is_there and (record.status not in _UNDONE or after[place].get(name) == size):
            files[name] = max(files[name], size)


def _add_copy(expected: _Files, file: tuple[str, str, int], record: migration.Migration, owned: set[tuple[str, str]]) -> None:
    directory, name, size = file
    path, destination = posixpath.join(directory, name), record.dest_compute or ""
    if record.status in (states.Status.FINISHED, states.Status.CONFIRMED):
        expected[destination, directory][name] = size
    if record.status is states.Status.CONFIRMED:
        owned.add((destination, path))
        if (record.source_compute, path) in owned:
            expected[record.source_compute, directory].pop(name, None)
            owned.discard((record.source_compute, path))


def of_contents(world: simulated.World, servers: Iterable[server.Server], records: Sequence[migration.Migration]) -> Iterator[str]:
    """Each disk of a guest that was moved cold holds, where the guest is and where it is kept, what it held."""
    for record in servers:
        moves = [one for one in records if one.instance_uuid == record.uuid]
        if not moves or not all(one.migration_type in _COLD for one in moves):
            # What a live migration copies is not written down in the simulated files.
            continue
        for here in world.hosts_of(record.uuid):
            for disk in here.guests[record.uuid].spec.disks:
                store = here.store_of(disk.source)
                held = store.contents.get(posixpath.basename(disk.source)) if store is not None else None
                if held != f"{record.uuid} {disk.name}":
                    yield f"disk {disk.source} of {record.name} holds {held!r} on {here.name}"


def of_usage(stories: Iterable[_Story], servers: Iterable[server.Server], hosts: Iterable[host.Host]) -> Iterator[str]:
    """What is taken of each host is what its servers take, and what it keeps of those that wait elsewhere."""
    taken: dict[str, int] = {}
    for record in servers:
        if record.host is not None and record.deleted_at is None:
            taken[record.host] = taken.get(record.host, 0) + record.memory_mib
    for of, moving in stories:
        if moving.status in states.RESTING and of.plan.old_size is not None:
            taken[moving.source_compute] = taken.get(moving.source_compute, 0) + of.plan.old_size.memory_mib
    for one in hosts:
        if one.usage.memory_mib != taken.get(one.name, 0):
            yield f"{one.usage.memory_mib} MiB of {one.name} are called taken, they are {taken.get(one.name, 0)}"
