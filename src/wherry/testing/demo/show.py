# SPDX-License-Identifier: Apache-2.0
"""How the demo looks: on a terminal with colours and a moving bar, elsewhere as plain lines.

Must not decide anything; that a claim is true is the story's business, this only counts those that were not.
"""

from __future__ import annotations

import collections.abc
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

import rich.console
import rich.markup
import rich.progress

from wherry.testing.demo import records, site

#: Where the output is no terminal, lines are as long as they are.
PLAIN_WIDTH = 160

Update = collections.abc.Callable[[records.Migration], None]


class Show:
    """The demo's output, and the claims in it."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._console = rich.console.Console(file=file, highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        #: Claims that were made and did not hold.
        self.broken: list[str] = []
        self.claims = 0

    def heading(self, text: str) -> None:
        """Begin a part."""
        self._console.print(f"\n[bold]{rich.markup.escape(text)}[/bold]")

    def line(self, text: str = "") -> None:
        """Print a line as it is."""
        self._console.print(f"  {text}".rstrip(), markup=False)

    def claim(self, text: str, holds: bool, seen: str = "") -> None:
        """State a fact that was just checked; a false one is printed as such and counted."""
        self.claims += 1
        if not holds:
            self.broken.append(text)
        mark = "[green]ok  [/green]" if holds else "[red]NOT [/red]"
        what = rich.markup.escape(text if not seen else f"{text}: {seen}")
        self._console.print(f"  {mark}{what}")

    def request(self, method: str, url: str, version: str, body: Mapping[str, Any] | None) -> None:
        """Print a request as it goes over the wire."""
        self.line(f"{method} {url}")
        self.line(f"OpenStack-API-Version: compute {version}")
        if body is not None:
            self.line(json.dumps(body))

    def answer(self, status: int, seconds: float, request_id: str) -> None:
        """Print what came back."""
        self.line(f"-> {status} in {seconds * 1000:.1f} ms, x-openstack-request-id: {request_id}")

    def events(self, events: Sequence[records.Event]) -> None:
        """Print the stages of an action."""
        self._table(
            ("event", "host", "start", "duration", "result", "details"),
            [
                (one.name, one.host or "-", f"{one.started_at:%H:%M:%S.%f}"[:-3], _duration(one), one.result or "-", one.details)
                for one in events
            ],
        )

    def migration(self, migration: records.Migration) -> None:
        """Print the record."""
        memory = (
            f"{records.mib(migration.memory_total_bytes)} in all, {records.mib(migration.memory_processed_bytes)} sent, "
            f"{records.mib(migration.memory_remaining_bytes)} left"
        )
        rows = [
            ("id", f"{migration.id} ({migration.uuid})"),
            ("status", migration.status),
            ("from, to", f"{migration.source}, {migration.destination or '-'}"),
            ("memory", memory),
        ]
        if migration.reason:
            rows.append(("reason", f"{migration.reason}: {migration.reason_message}"))
        for name, value in rows:
            self.line(f"{name:<10}{value}")

    def sightings(self, sightings: Sequence[site.Sighting]) -> None:
        """Print what the hypervisors say, with what they were asked."""
        rows = [
            (one.host if number == 0 else "", f"$ {command}", said)
            for one in sightings
            for number, (command, said) in enumerate(one.answers)
        ]
        for text in columns(("", "", ""), rows)[1:]:
            self.line(text)

    @contextlib.contextmanager
    def progress(self, what: str) -> collections.abc.Iterator[Update]:
        """Follow a migration; what is given to the yielded function is shown when it differs from the last."""
        if self._console.is_terminal:
            yield from self._moving(what)
        else:
            yield self._plain()

    def _moving(self, what: str) -> collections.abc.Iterator[Update]:
        columns = (
            rich.progress.TextColumn("  {task.description}"),
            rich.progress.BarColumn(bar_width=40),
            rich.progress.TextColumn("{task.percentage:>3.0f} %  {task.fields[memory]:<26}{task.fields[status]:<10}", markup=False),
            rich.progress.TimeElapsedColumn(),
        )
        with rich.progress.Progress(*columns, console=self._console) as progress:
            task = progress.add_task(rich.markup.escape(what), total=100, memory="", status="")

            def update(migration: records.Migration) -> None:
                progress.update(task, completed=migration.percentage or 0, memory=_left(migration), status=migration.status)

            yield update

    def _plain(self) -> Update:
        last: list[str] = []

        def update(migration: records.Migration) -> None:
            text = f"{migration.percentage or 0:>3} %  {_left(migration):<26}{migration.status}"
            if [text] != last:
                last[:] = [text]
                self.line(text)

        return update

    def _table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        first, *others = columns(head, rows)
        self._console.print(f"  [dim]{rich.markup.escape(first)}[/dim]")
        for text in others:
            self.line(text)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Put cells below one another, two spaces apart."""
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _duration(event: records.Event) -> str:
    seconds = event.seconds
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _left(migration: records.Migration) -> str:
    if migration.memory_remaining_bytes is None:
        return ""
    return f"{records.mib(migration.memory_remaining_bytes)} of {records.mib(migration.memory_total_bytes)} left"
