# SPDX-License-Identifier: Apache-2.0
"""What the commands share: the way to the service, exit statuses, and how a follow is told to people.

Exit statuses: 0 it is as asked, 1 it is not, 2 the command line was wrong, 3 patience ended first and the migration goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cliff import columns
from osc_lib.command import command

from wherry.cli import amounts, compute, following, migrations, plugin

FAILED = 1
STILL_GOING_ON = 3

#: Columns that tell of migrations in every table of these commands.
ANSWER_COLUMNS = ("Server", "Server ID", "Status", "Source", "Destination", "Migration", "Request ID", "Reason")


class Events(columns.FormattableColumn[Sequence[migrations.StageEvent]]):
    """Stages: a line each for people, a list of objects for programs."""

    def human_readable(self) -> str:
        return "\n".join(line_of(event) for event in self._value)

    def machine_readable(self) -> Any:
        return [
            {
                "event": event.name,
                "host": event.host,
                "start_time": event.started_at.isoformat(),
                "finish_time": event.finished_at.isoformat() if event.finished_at else None,
                "result": event.result,
                "details": event.details,
            }
            for event in self._value
        ]


class LiveMigrationCommand(command.Command):
    """Root of the commands: knows the service, and ends with the status that the command found."""

    #: What the process ends with although the command ran to its end.
    exit_status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            return super().run(parsed_args) or self.exit_status
        except KeyboardInterrupt:
            self.tell("Interrupted. What was asked for goes on; `openstack live migration watch` shows it, `… abort` ends it.")
            raise

    @property
    def api(self) -> compute.ComputeApi:
        """The service that the user is logged in to."""
        if not hasattr(self, "_api"):
            self._api = plugin.make_client(self.app.client_manager)
        return self._api

    @property
    def migrations(self) -> migrations.Migrations:
        """Its live migrations."""
        return migrations.Migrations(self.api)

    def tell(self, sentence: str) -> None:
        """Say something that is not part of the result, where --quiet was not asked for."""
        if self.app.options.verbose_level > 0:
            print(sentence, file=self.app.stderr, flush=True)

    def complain(self, sentence: str) -> None:
        """Say why the exit status is not 0, whatever columns were chosen."""
        print(sentence, file=self.app.stderr, flush=True)

    def follow(self, followed: Sequence[following.Followed], patience: following.Patience) -> None:
        """Follow to the end with a line for each change, and set the exit status where patience ended first."""
        known: set[tuple[int, str, str | None, str | None]] = set()

        def on_look(one: following.Followed, before: migrations.Record) -> None:
            for event in one.events:
                mark = (one.record.id, event.name, event.host, event.result)
                if mark not in known:
                    known.add(mark)
                    self.tell(f"{one.name}: {line_of(event)}")
            if one.record.status != before.status:
                self.tell(f"{one.name}: {one.record.status}")

        if not following.Follower(self.migrations, patience).follow(followed, on_look):
            self.exit_status = STILL_GOING_ON
            self.complain(f"Not ended after {patience.limit_seconds:g} s. It goes on; `openstack live migration watch` shows it.")


def answer_row(
    server: tuple[str, str], status: str, record: migrations.Record | None, request_id: str | None, reason: str
) -> tuple[Any, ...]:
    """Make a row of ANSWER_COLUMNS.

    :param server: id and name
    """
    return (
        server[1],
        server[0],
        status,
        record.source if record else None,
        record.destination if record else None,
        record.id if record else None,
        request_id,
        reason,
    )


def line_of(event: migrations.StageEvent) -> str:
    """Tell of a stage in a line."""
    where = f" on {event.host}" if event.host else ""
    if event.finished_at is None:
        return f"{event.name}{where}: began"
    took = (event.finished_at - event.started_at).total_seconds()
    ended = f"{event.name}{where}: {event.result or 'ended'} after {amounts.duration(took) if took >= 60 else f'{took:.1f} s'}"
    return f"{ended}: {event.details}" if event.details else ended
