# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration watch`: progress, rates, deadline and stages of one migration while it goes on.

On a terminal one line moves; elsewhere each change is a line of its own.
"""

from __future__ import annotations

import argparse
import datetime

import rich.console
import rich.markup
import rich.progress

from wherry.cli import amounts, base, following, migrations


class WatchLiveMigration(base.LiveMigrationCommand):
    """Watch a live migration until it ends; exit status 1 when the server did not arrive, with the reason."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        parser.add_argument("migration", metavar="<migration>", nargs="?", help="Migration (ID or UUID); default: the server's last one")
        following.add_options(parser, waits="While watching,")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        server_id, server_name = self.api.find_server(parsed_args.server)
        record = self.migrations.choose(server_id, parsed_args.migration)
        followed = following.Followed(name=server_name, record=record, request_id=self.migrations.request_of(record))
        patience = following.patience_of(parsed_args)
        console = rich.console.Console(file=self.app.stdout, highlight=False, soft_wrap=True)
        with Screen(console) as screen:
            has_ended = following.Follower(self.migrations, patience).follow(
                [followed], lambda one, before: screen.update(one, before, self.api.now)
            )
        return self._end(followed, console) if has_ended else self._give_up(patience)

    def _end(self, followed: following.Followed, console: rich.console.Console) -> int:
        record = followed.record
        if record.is_completed:
            console.print(f"{followed.name} runs on {record.destination or 'another host'}.", markup=False)
            return 0
        why = self.migrations.why(record, followed.events) or "the service gives no reason"
        self.complain(f"{followed.name}: {record.status}: {why}")
        return base.FAILED

    def _give_up(self, patience: following.Patience) -> int:
        self.complain(f"Not ended after {patience.limit_seconds:g} s. It goes on.")
        return base.STILL_GOING_ON


class Screen:
    """A progress line, with the stages above it."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.TextColumn("{task.fields[details]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, details="")
        self._told: set[tuple[str, str | None, str | None]] = set()
        self._counters: amounts.Counters | None = None
        self._rates: amounts.Rates | None = None
        self._last_line = ""

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, followed: following.Followed, _before: migrations.Record, now: datetime.datetime) -> None:
        """Show what a look found."""
        for event in followed.events:
            mark = (event.name, event.host, event.result)
            if mark not in self._told:
                self._told.add(mark)
                self._progress.console.print(base.line_of(event), markup=False)
        record = followed.record
        self._measure(record, now)
        description = f"{followed.name}  {record.source or '?'} → {record.destination or '?'}  {record.status}"
        details = "  ".join(details_of(record, self._rates, now))
        if self._console.is_terminal:
            percentage = record.percentage
            self._progress.update(
                self._task,
                description=description,
                details=details,
                total=None if percentage is None else 100,
                completed=percentage or 0,
            )
            return
        percentage_text = "" if record.percentage is None else f"  {record.percentage}%"
        line = f"{description}{percentage_text}" + (f"  {details}" if details else "")
        if line != self._last_line:
            self._last_line = line
            self._console.print(line, markup=False)

    def _measure(self, record: migrations.Record, now: datetime.datetime) -> None:
        processed, remaining = record.processed_bytes, record.remaining_bytes
        if processed is None or remaining is None:
            return
        counters = amounts.Counters(at=record.updated_at or now, processed_bytes=processed, remaining_bytes=remaining)
        if self._counters is not None and counters.processed_bytes != self._counters.processed_bytes:
            self._rates = amounts.rates(self._counters, counters)
        self._counters = counters


def details_of(record: migrations.Record, rates: amounts.Rates | None, now: datetime.datetime) -> list[str]:
    """Say what the bar cannot: what remains, how fast it goes, when the deadline is."""
    parts: list[str] = []
    if record.has_ended:
        return parts
    if record.remaining_bytes is not None:
        parts.append(f"{amounts.size(record.remaining_bytes)} left")
    parts += _speed(record, rates)
    parts += _estimate(record)
    if record.deadline_at is not None:
        left = (record.deadline_at - now).total_seconds()
        action = (record.on_timeout or "").replace("_", "-")
        parts.append(f"{action or 'deadline'} in {amounts.duration(left)}" if left > 0 else f"deadline passed, {action}")
    elif record.timeout_seconds:
        parts.append(f"deadline {amounts.duration(record.timeout_seconds)} after the copy starts")
    return parts


def _speed(record: migrations.Record, rates: amounts.Rates | None) -> list[str]:
    parts: list[str] = []
    if record.bytes_per_second:
        # The service measures better than two looks can.
        parts.append(f"{amounts.size(record.bytes_per_second)}/s sent")
        if record.dirty_bytes_per_second:
            parts.append(f"{amounts.size(record.dirty_bytes_per_second)}/s dirtied")
    elif rates is not None:
        parts.append(f"{amounts.size(rates.sent)}/s sent")
        if rates.dirtied:
            # In the first pass nothing that is dirtied is counted as remaining yet.
            parts.append(f"≈{amounts.size(rates.dirtied)}/s dirtied")
    return parts


def _estimate(record: migrations.Record) -> list[str]:
    parts: list[str] = []
    if record.iteration is not None and record.iteration > 1:
        parts.append(f"pass {record.iteration}")
    if record.seconds_left_low is not None:
        low, high = amounts.duration(record.seconds_left_low), record.seconds_left_high
        parts.append(f"{low} or more to go" if high is None else f"{low} to {amounts.duration(high)} to go")
    return parts
