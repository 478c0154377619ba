# SPDX-License-Identifier: Apache-2.0
"""Live migrations as a client sees them: the record, its events, why it is as it is.

Reads only. Works with Nova too, which shows a migration's counters while it goes on and gives no reasons.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from osc_lib import exceptions

from wherry.cli import compute
from wherry.model import states

LIVE_MIGRATION = "live-migration"
_TERMINAL = {status.value for status in states.TERMINAL}
#: What a caller gets for something that they may not see, or that is not there.
_NOT_SHOWN = (403, 404)
#: First versions: integer ids in order and pages, events with hosts and details, project_id as a filter.
_PAGED: compute.Version = (2, 59)
_PROJECTS: compute.Version = (2, 80)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One live migration at one moment; what the service does not tell is None."""

    id: int
    uuid: str | None
    server_id: str
    status: str
    source: str | None
    destination: str | None
    created_at: datetime.datetime
    updated_at: datetime.datetime | None
    memory_total_bytes: int | None
    memory_processed_bytes: int | None
    memory_remaining_bytes: int | None
    disk_total_bytes: int | None
    disk_processed_bytes: int | None
    disk_remaining_bytes: int | None
    timeout_seconds: int | None
    timeout_seconds_origin: str | None
    on_timeout: str | None
    on_timeout_origin: str | None
    deadline_at: datetime.datetime | None
    #: What the service itself says of the course, at Wherry's own version: the share that never falls, and how fast it goes.
    percentage_told: int | None
    iteration: int | None
    bytes_per_second: int | None
    dirty_bytes_per_second: int | None
    expected_downtime_ms: int | None
    downtime_ms: int | None
    seconds_left_low: int | None
    seconds_left_high: int | None
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    reason: str | None
    reason_message: str | None
    remedy: str | None
    #: Who asked for it.
    user_id: str | None
    project_id: str | None

    @property
    def has_ended(self) -> bool:
        """Whether its status is a last one."""
        return self.status in _TERMINAL

    @property
    def is_completed(self) -> bool:
        """Whether the guest runs at the destination, all of it."""
        return self.status == states.Status.COMPLETED.value

    @property
    def explanation(self) -> str:
        """Why it is as it is, in words, with what to do about it; empty when the service does not say."""
        return " ".join(part for part in (self.reason_message, self.remedy) if part)

    @property
    def percentage(self) -> int | None:
        """How much of memory and disks is there; None while nothing is known of the amount."""
        if self.is_completed:
            return 100
        if self.percentage_told is not None:
            return self.percentage_told
        total, remaining = self.total_bytes, self.remaining_bytes
        if not total or remaining is None:
            return None
        return max(0, min(100, 100 - remaining * 100 // total))

    @property
    def total_bytes(self) -> int | None:
        """What there is to send, memory and disks."""
        return _sum(self.memory_total_bytes, self.disk_total_bytes)

    @property
    def remaining_bytes(self) -> int | None:
        """What is still to send, memory and disks."""
        return _sum(self.memory_remaining_bytes, self.disk_remaining_bytes)

    @property
    def processed_bytes(self) -> int | None:
        """What was sent, what was dirtied again counted again."""
        return _sum(self.memory_processed_bytes, self.disk_processed_bytes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StageEvent:
    """One stage of a request, as its instance action shows it."""

    name: str
    host: str | None
    started_at: datetime.datetime
    finished_at: datetime.datetime | None
    #: "Success", "Error", or None while it goes on.
    result: str | None
    details: str | None


class Migrations:
    """Live migrations of one service."""

    def __init__(self, api: compute.ComputeApi) -> None:
        self._api = api

    def across(self, **filters: Any) -> list[Record]:
        """Give live migrations across servers, the newest first; without `limit` page by page to the end.

        :param filters: those of GET /os-migrations, None for none
        """
        limit = filters.get("limit")
        found: list[Record] = []
        while True:
            page = self._page(filters)
            found += [_record(row) for row in page["migrations"]]
            if limit is not None or not page.get("migrations_links") or not found:
                return sorted(found, key=lambda record: record.id, reverse=True)
            filters = {**filters, "marker": found[-1].uuid}

    def newest_of(self, server_id: str) -> Record | None:
        """Give the server's last live migration, whether it goes on or not; None when there was none."""
        found = self.across(instance_uuid=server_id, **({"limit": 1} if self._api.nova >= _PAGED else {}))
        return found[0] if found else None

    def following(self, server_id: str, known: int) -> Record | None:
        """Give the server's first live migration after the one of a number: the one that a request in between made."""
        found = [record for record in self.across(instance_uuid=server_id) if record.id > known]
        return found[-1] if found else None

    def in_progress_of(self, server_id: str) -> list[Record]:
        """Give the server's live migrations that go on."""
        rows = self._api.get(
            f"Listing the live migrations of server {server_id}", f"/servers/{server_id}/migrations", version=self._api.best
        )["migrations"]
        return [_record(row) for row in rows]

    def show(self, server_id: str, named: str) -> Record:
        """Give one by its number or uuid, with all that the service and the caller's rights allow.

        :raises CommandError: there is no such one.
        """
        doing = f"Showing live migration {named}"
        if named.isdigit() or self._api.newest >= compute.OWN:
            try:
                return _record(self._api.get(doing, f"/servers/{server_id}/migrations/{named}", version=self._api.best)["migration"])
            except compute.Refused as refusal:
                # It has ended, and this is Nova; or the caller may not see hosts.
                if refusal.code not in _NOT_SHOWN:
                    raise
        for records in (self.in_progress_of, lambda server: self.across(instance_uuid=server)):
            for record in records(server_id):
                if named.lower() in (str(record.id), record.uuid):
                    return record
        raise exceptions.CommandError(
            f"Server {server_id} has no live migration {named}. `openstack live migration list --server {server_id}` names them."
        )

    def choose(self, server_id: str, named: str | None) -> Record:
        """Give the one that is named, else the server's last one.

        :raises CommandError: there is no such one.
        """
        if named is not None:
            return self.show(server_id, named)
        newest = self.newest_of(server_id)
        if newest is None:
            raise exceptions.CommandError(f"Server {server_id} was never live-migrated. `openstack live migration create` does so.")
        return self.show(server_id, str(newest.id))

    def events(self, server_id: str, request_id: str) -> list[StageEvent]:
        """Give the stages of a request, the first one first; none while its instance action is not there yet."""
        try:
            action = self._api.get(f"Reading the events of {request_id}", f"/servers/{server_id}/os-instance-actions/{request_id}")[
                "instanceAction"
            ]
        except compute.Refused as refusal:
            if refusal.code not in _NOT_SHOWN:
                raise
            return []
        return sorted((_event(row) for row in action.get("events") or ()), key=lambda event: event.started_at)

    def request_of(self, record: Record) -> str | None:
        """Give the id of the request that a migration came from: of the last live-migration action that was there when it was recorded."""
        actions = self._api.get(f"Reading the actions of server {record.server_id}", f"/servers/{record.server_id}/os-instance-actions")[
            "instanceActions"
        ]
        fitting = [action for action in actions if action["action"] == LIVE_MIGRATION and _time(action["start_time"]) <= record.created_at]
        newest = max(fitting, key=lambda action: str(action["start_time"]), default=None)
        return str(newest["request_id"]) if newest else None

    def why(self, record: Record, events: list[StageEvent]) -> str:
        """Say why a migration ended as it did: by its record, else by the last stage that failed."""
        if record.explanation:
            return record.explanation
        failed = [event for event in events if event.result == "Error"]
        if not failed:
            return ""
        last = max(failed, key=lambda event: event.finished_at or event.started_at)
        return last.details or f"{last.name} failed{f' on {last.host}' if last.host else ''}; an administrator sees why."

    def _page(self, filters: Mapping[str, Any]) -> dict[str, Any]:
        doing, path = "Listing live migrations", "/os-migrations"
        asked = {**filters, "migration_type": LIVE_MIGRATION}
        try:
            return self._api.get(doing, path, asked, version=self._api.best)
        except compute.Refused as refusal:
            # Who may not see all projects must name their own.
            if refusal.code != 403 or asked.get("project_id") or self._api.nova < _PROJECTS:
                raise
            own = self._api.project_id or self._project_of(asked.get("instance_uuid"))
            if own is None:
                raise
            return self._api.get(doing, path, {**asked, "project_id": own}, version=self._api.best)

    def _project_of(self, server_id: str | None) -> str | None:
        """Give a server's project: a session that logged in to nothing knows of none of its own."""
        if server_id is None:
            return None
        server = self._api.get(f"Finding server {server_id}", f"/servers/{server_id}")["server"]
        found: str | None = server.get("tenant_id")
        return found


def _record(row: Mapping[str, Any]) -> Record:
    """Read a row of either list; each leaves out some of it."""
    names = {field.name for field in dataclasses.fields(Record)}
    values: dict[str, Any] = {name: row.get(name) for name in names}
    values |= {
        "server_id": row.get("server_uuid") or row["instance_uuid"],
        "source": row.get("source_compute"),
        "destination": row.get("dest_compute"),
        "percentage_told": row.get("percentage"),
    }
    for name in ("created_at", "updated_at", "deadline_at", "started_at", "finished_at"):
        values[name] = _time(row[name]) if row.get(name) else None
    return Record(**values)


def _event(row: Mapping[str, Any]) -> StageEvent:
    return StageEvent(
        name=row["event"],
        host=row.get("host"),
        started_at=_time(row["start_time"]),
        finished_at=_time(row["finish_time"]) if row.get("finish_time") else None,
        result=row.get("result"),
        details=row.get("details"),
    )


def _time(stamp: str) -> datetime.datetime:
    """Read a time of the API's, which has no zone and means UTC."""
    read = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return read if read.tzinfo else read.replace(tzinfo=datetime.UTC)


def _sum(*amounts: int | None) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
