# SPDX-License-Identifier: Apache-2.0
"""Follows migrations to their end, by their records and events and never by the server's status, which also returns when a move failed.

Shows nothing itself: it tells whoever listens what is new.
"""

from __future__ import annotations

import argparse
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

from wherry.cli import compute, migrations

#: Defaults of the options below.
INTERVAL_SECONDS = 1.0
RETRY_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How often to look, and how long to go on."""

    interval_seconds: float = INTERVAL_SECONDS
    #: Longest wait for the end; None waits for ever.
    limit_seconds: float | None = None
    #: How long a service that cannot be reached is asked again.
    retry_seconds: float = RETRY_SECONDS


@dataclasses.dataclass(kw_only=True, slots=True)
class Followed:
    """A migration that is followed."""

    #: The server's name, for people.
    name: str
    record: migrations.Record
    #: Of the request that it came from; None when that is not known.
    request_id: str | None
    events: list[migrations.StageEvent] = dataclasses.field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.record.has_ended


#: Told after each look: what is followed, and the record as it was before.
OnLook = Callable[[Followed, migrations.Record], None]
#: Waits so many seconds.
Pause = Callable[[float], object]


def add_options(parser: argparse.ArgumentParser, *, waits: str) -> None:
    """Add the options that a Patience is read from."""
    parser.add_argument(
        "--interval",
        metavar="<seconds>",
        type=positive_seconds,
        default=INTERVAL_SECONDS,
        help=f"{waits} look this often, default=1",
    )
    parser.add_argument(
        "--wait-limit",
        metavar="<seconds>",
        type=positive_seconds,
        help=f"{waits} give up after this time with exit status 3, and let the migration go on; default: never",
    )
    parser.add_argument(
        "--retry-for",
        metavar="<seconds>",
        type=positive_seconds,
        default=RETRY_SECONDS,
        help=f"{waits} ask a service that cannot be reached again for this time, default=60",
    )


def patience_of(arguments: argparse.Namespace) -> Patience:
    """Read what was asked for."""
    return Patience(interval_seconds=arguments.interval, limit_seconds=arguments.wait_limit, retry_seconds=arguments.retry_for)


def positive_seconds(written: str) -> float:
    """Read a time from the command line."""
    try:
        seconds = float(written)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{written} is no number of seconds above 0")
    return seconds


class Follower:
    """Looks at migrations again and again until all have ended.

    :param pause: waits between looks; a test's may pass the time at once.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        reading: migrations.Migrations,
        patience: Patience,
        *,
        pause: Pause | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reading = reading
        self._patience = patience
        # An event that nobody sets: a wait that Ctrl-C ends.
        self._pause = pause or threading.Event().wait
        self._clock = clock

    def follow(self, all_followed: Sequence[Followed], on_look: OnLook) -> bool:
        """Look until all have ended; gives False when patience ended first.

        :raises Refused: the service does not tell any more.
        :raises Away: it cannot be reached, for longer than there is patience for.
        """
        started = self._clock()
        while True:
            for followed in all_followed:
                if not followed.has_ended or not followed.events:
                    before = followed.record
                    self._insist(followed)
                    on_look(followed, before)
            if all(followed.has_ended for followed in all_followed):
                return True
            limit = self._patience.limit_seconds
            if limit is not None and self._clock() - started >= limit:
                return False
            self._pause(self._patience.interval_seconds)

    def _insist(self, followed: Followed) -> None:
        lost = None
        while True:
            try:
                self._look(followed)
                return
            except compute.Away:
                lost = lost or self._clock()
                if self._clock() - lost >= self._patience.retry_seconds:
                    raise
                self._pause(self._patience.interval_seconds)

    def _look(self, followed: Followed) -> None:
        # The record first: an end that it shows has all its events written, but not the other way round.
        record = self._reading.show(followed.record.server_id, str(followed.record.id))
        if followed.request_id:
            followed.events = self._reading.events(record.server_id, followed.request_id)
        followed.record = record
