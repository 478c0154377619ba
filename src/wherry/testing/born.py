# SPDX-License-Identifier: Apache-2.0
"""What must hold of servers that are made and deleted once everything has come to rest; a part of `invariants`. Looks only."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping

from wherry.drivers import simulated
from wherry.model import server

#: Sizes of files, by the place that holds them: host and directory.
_Files = dict[tuple[str, str], dict[str, int]]


def is_deleted(record: server.Server | None) -> bool:
    """Whether somebody asked for its deletion, and it was done."""
    return record is not None and record.reason == server.DELETED_ON_REQUEST and record.deleted_at is not None


def is_out(record: server.Server | None) -> bool:
    """Whether where its guest is, is looked at here alone: deleted, or in error with the reason why."""
    return is_deleted(record) or (record is not None and record.vm_state is server.VmState.ERROR and record.fault is not None)


def of_servers(world: simulated.World, servers: Iterable[server.Server], reset: Collection[str]) -> Iterator[str]:
    """One that was deleted is nowhere; one that was asked for runs, or is in error with its fault and nowhere, or where it failed.

    :param reset: uuids of those whose state somebody reset.
    """
    for record in servers:
        places = [host.name for host in world.hosts_of(record.uuid)]
        if is_deleted(record):
            if places:
                yield f"{record.name} was deleted and is on {places}"
        elif record.vm_state is server.VmState.BUILDING:
            yield f"{record.name} is being built still"
        elif record.vm_state is server.VmState.DELETED:
            # A deletion that failed is in its fault. What was sent for it may come a second time, and succeed.
            if record.birth is not None and record.fault is None:
                yield f"{record.name}, which was made, is gone, and nobody deleted it"
        elif not places and record.birth is not None and not _has_failed(record, record.uuid in reset):
            yield f"{record.name} is nowhere, the record says {record.vm_state.value} on {record.host}"
        elif not places and record.host is not None:
            yield f"{record.name} is nowhere, the record says {record.host}"
        elif record.birth is None and record.vm_state is server.VmState.ERROR and record.fault is not None and len(places) != 1:
            yield f"{record.name} is on {places}, and could not be deleted"


def _has_failed(record: server.Server, is_reset: bool) -> bool:
    """Whether it could not be made, or deleted, and says why; one that never was made shows what somebody has called it since."""
    is_shown = record.vm_state is server.VmState.ERROR or (is_reset and record.host is None and record.launched_at is None)
    return is_shown and record.fault is not None


def place_files(
    world: simulated.World, servers: Iterable[server.Server], expected: _Files, after: Mapping[tuple[str, str], Mapping[str, int]]
) -> None:
    """Write into what is expected the disks of servers that were made: where their guests are or are kept, and nowhere else."""
    made = {record.uuid for record in servers if record.birth is not None}
    for place, files in expected.items():
        for name in [name for name in {**files, **after[place]} if name.partition(".")[0] in made]:
            files.pop(name, None)
            host = world.hosts[place[0]]
            local = host.guests.get(name.partition(".")[0])
            if local is not None and posixpath.join(place[1], name) in {disk.source for disk in local.spec.disks}:
                # Grown by a resize, perhaps; its size is not judged.
                files[name] = after[place].get(name, 0)
