# SPDX-License-Identifier: Apache-2.0
"""A server's live migrations, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import migration_fields, parts, reasons
from wherry.model import deadline, progress, states
from wherry.model import migration as model
from wherry.policies import server_migrations as policies

#: First version with the fields that Nova does not have.
OWN_FIELDS_FROM = reasons.FROM


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """A migration's place among those that wait for slots."""

    #: From 1.
    position: int
    #: Limits that are used up: "outgoing:HOST", "incoming:HOST", "cluster". Empty: it may start now.
    waits_for: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShownMigration:
    """What the handlers give."""

    record: model.Migration
    #: The request, where the record has no deadline yet; else None.
    request: model.LiveMigrationRequest | None
    #: Until the copy ends; None where it does not go on, or nothing is known.
    time_left: progress.TimeLeft | None = None
    #: None where it does not wait, or the version does not show it.
    queued: Queued | None = None


def index(shown: Sequence[ShownMigration], call: api_call.Call) -> dict[str, Any]:
    """Give the list; hosts are null for those who may not see them."""
    shows_hosts = call.allows(policies.INDEX_HOST)
    return {"migrations": [_row(one, call, shows_hosts=shows_hosts) for one in shown]}


def show(shown: ShownMigration, call: api_call.Call) -> dict[str, Any]:
    """Give one; whoever may see it may see its hosts, as in Nova."""
    return {"migration": _row(shown, call, shows_hosts=True)}


def _row(shown: ShownMigration, call: api_call.Call, *, shows_hosts: bool) -> dict[str, Any]:
    counters = shown.record.progress
    row = migration_fields.fields(shown.record, call, shows_hosts=shows_hosts) | {
        "server_uuid": shown.record.instance_uuid,
        # An address in cold migrations; live ones have none, as in Nova.
        "dest_host": None,
        "memory_total_bytes": counters.memory_total_bytes if counters else None,
        "memory_processed_bytes": counters.memory_processed_bytes if counters else None,
        "memory_remaining_bytes": counters.memory_remaining_bytes if counters else None,
        "disk_total_bytes": counters.disk_total_bytes if counters else None,
        "disk_processed_bytes": counters.disk_processed_bytes if counters else None,
        "disk_remaining_bytes": counters.disk_remaining_bytes if counters else None,
    }
    if call.version >= OWN_FIELDS_FROM:
        row |= _course(shown) | _queue(shown.queued, shows_hosts=shows_hosts) | _deadline(shown)
    return row


def _course(shown: ShownMigration) -> dict[str, Any]:
    """Tell how it goes, or went: kept for migrations that have ended, too."""
    counters, left = shown.record.progress, shown.time_left
    is_completed = shown.record.status is states.Status.COMPLETED
    return {
        "percentage": 100 if is_completed else (counters.percentage if counters else None),
        "iteration": counters.iteration or None if counters else None,
        "bytes_per_second": counters.bytes_per_second or None if counters else None,
        "dirty_bytes_per_second": counters.dirty_bytes_per_second if counters else None,
        "expected_downtime_ms": counters.expected_downtime_ms if counters else None,
        "downtime_ms": counters.downtime_ms if counters else None,
        "seconds_left_low": left.low_seconds if left else None,
        "seconds_left_high": left.high_seconds if left else None,
        "started_at": parts.stamp_or_none(shown.record.started_at),
        "finished_at": parts.stamp_or_none(shown.record.finished_at),
    }


def _queue(queued: Queued | None, *, shows_hosts: bool) -> dict[str, Any]:
    if queued is None:
        return {"queue_position": None, "waits_for": None}
    waits_for = [one if shows_hosts else one.partition(":")[0] for one in queued.waits_for]
    return {"queue_position": queued.position, "waits_for": waits_for}


def _deadline(shown: ShownMigration) -> dict[str, Any]:
    record, request = shown.record, shown.request
    timeout: tuple[int | None, deadline.Origin | None] = (None, None)
    action: tuple[deadline.TimeoutAction | None, deadline.Origin | None] = (None, None)
    if record.deadline is not None:
        timeout = (record.deadline.timeout_seconds, record.deadline.timeout_origin)
        action = (record.deadline.on_timeout, record.deadline.on_timeout_origin)
    elif request is not None:
        # What is not asked for is configured at the source, and known when the transfer starts.
        if request.timeout_seconds is not None:
            timeout = (request.timeout_seconds, deadline.Origin.REQUEST)
        if request.on_timeout is not None:
            action = (request.on_timeout, deadline.Origin.REQUEST)
    return {
        "timeout_seconds": timeout[0],
        "timeout_seconds_origin": timeout[1].value if timeout[1] else None,
        "on_timeout": action[0].value if action[0] else None,
        "on_timeout_origin": action[1].value if action[1] else None,
        # A deadline that the configuration took away again leaves its time behind on the record.
        "deadline_at": parts.stamp_or_none(record.deadline_at if record.deadline is not None and record.deadline.is_set else None),
    }
