# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration list` and `… show`. Changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from osc_lib.command import command

from wherry.cli import base, migrations
from wherry.model import states

_LIST_COLUMNS = ("ID", "UUID", "Server ID", "Status", "Source", "Destination", "Created At", "Updated At", "Reason")
_LONG_COLUMNS = ("Explanation", "User ID", "Project ID")


class ListLiveMigrations(base.LiveMigrationCommand, command.Lister):
    """List live migrations, those that have ended too, the newest first."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--server", metavar="<server>", help="Only those of this server (name or ID)")
        parser.add_argument("--host", metavar="<host>", help="Only those from or to this host")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--status", choices=tuple(status.value for status in states.Status), help="Only those in this status")
        group.add_argument("--in-progress", action="store_true", help="Only those that have not ended")
        parser.add_argument("--project", metavar="<project-id>", help="Only those that this project asked for")
        parser.add_argument("--user", metavar="<user-id>", help="Only those that this user asked for")
        parser.add_argument("--changes-since", metavar="<time>", help="Only those that changed at or after this time (ISO 8601)")
        parser.add_argument("--changes-before", metavar="<time>", help="Only those that changed at or before this time (ISO 8601)")
        parser.add_argument("--marker", metavar="<uuid>", help="Begin after the migration of this UUID")
        parser.add_argument("--limit", metavar="<count>", type=int, help="At most so many; default: all")
        parser.add_argument("--long", action="store_true", help="Show why they ended so and who asked for them, too")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        server_id = self.api.find_server(parsed_args.server)[0] if parsed_args.server else None
        found = self.migrations.across(
            instance_uuid=server_id,
            host=parsed_args.host,
            status=parsed_args.status,
            project_id=parsed_args.project,
            user_id=parsed_args.user,
            marker=parsed_args.marker,
            limit=parsed_args.limit,
            **{"changes-since": parsed_args.changes_since, "changes-before": parsed_args.changes_before},
        )
        if parsed_args.in_progress:
            found = [record for record in found if not record.has_ended]
        columns = _LIST_COLUMNS + (_LONG_COLUMNS if parsed_args.long else ())
        return columns, [_row(record, is_long=parsed_args.long) for record in found]


class ShowLiveMigration(base.LiveMigrationCommand, command.ShowOne):
    """Show a live migration: how far it is, its deadline, why it ended as it did, and its stages."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        parser.add_argument("migration", metavar="<migration>", nargs="?", help="Migration (ID or UUID); default: the server's last one")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        server_id, server_name = self.api.find_server(parsed_args.server)
        record = self.migrations.choose(server_id, parsed_args.migration)
        request_id = self.migrations.request_of(record)
        events = self.migrations.events(server_id, request_id) if request_id else []
        shown: dict[str, Any] = {
            "id": record.id,
            "uuid": record.uuid,
            "server": server_name,
            "server_id": record.server_id,
            "status": record.status,
            "reason": record.reason,
            "explanation": "" if record.is_completed else self.migrations.why(record, events),
            "source": record.source,
            "destination": record.destination,
            "percentage": record.percentage,
            "memory_total_bytes": record.memory_total_bytes,
            "memory_processed_bytes": record.memory_processed_bytes,
            "memory_remaining_bytes": record.memory_remaining_bytes,
            "disk_total_bytes": record.disk_total_bytes,
            "disk_processed_bytes": record.disk_processed_bytes,
            "disk_remaining_bytes": record.disk_remaining_bytes,
            "iteration": record.iteration,
            "bytes_per_second": record.bytes_per_second,
            "dirty_bytes_per_second": record.dirty_bytes_per_second,
            "expected_downtime_ms": record.expected_downtime_ms,
            "downtime_ms": record.downtime_ms,
            "seconds_left": _range(record),
            "timeout_seconds": record.timeout_seconds,
            "timeout_seconds_origin": record.timeout_seconds_origin,
            "on_timeout": record.on_timeout,
            "on_timeout_origin": record.on_timeout_origin,
            "deadline_at": _written(record.deadline_at),
            "created_at": _written(record.created_at),
            "started_at": _written(record.started_at),
            "finished_at": _written(record.finished_at),
            "updated_at": _written(record.updated_at),
            "user_id": record.user_id,
            "project_id": record.project_id,
            "request_id": request_id,
            "events": base.Events(events),
        }
        return tuple(shown), tuple(shown.values())


def _row(record: migrations.Record, *, is_long: bool) -> tuple[Any, ...]:
    row = (
        record.id,
        record.uuid,
        record.server_id,
        record.status,
        record.source,
        record.destination,
        _written(record.created_at),
        _written(record.updated_at),
        record.reason,
    )
    return (*row, record.explanation, record.user_id, record.project_id) if is_long else row


def _range(record: migrations.Record) -> str | None:
    """Write the estimate: "12 to 40", or "12 or more" where nothing says that it ever ends."""
    if record.seconds_left_low is None:
        return None
    high = record.seconds_left_high
    return f"{record.seconds_left_low} or more" if high is None else f"{record.seconds_left_low} to {high}"


def _written(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
