# SPDX-License-Identifier: Apache-2.0
"""What tests of whole migrations make and look at alike: a guest that never converges, a guest that is whole, a deadline that was kept."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

from tests.lab import flow
from wherry.testing import lab as labs

#: Says what was measured.
Tell = Callable[[str], None]
#: The event of the copy.
TRANSFER = "compute_live_migration"
#: How a deadline is told that was kept: when it acted, and by when it should have.
_ACTED = re.compile(r"deadline: ([a-z -]+) after ([0-9.]+) s of ([0-9]+) s \(request\)")


def never_ending(wherry: flow.Flow, name: str = "", **options: Any) -> labs.Guest:
    """A guest that writes faster than its link may send, and checks its memory itself."""
    guest = wherry.guest(name, **{"payload": "counter", "memory_mib": 64, "range_mib": 24, "rate_mib_per_s": 30, **options})
    flow.until(lambda: guest.beacon().passes >= 1, "its range to be written once")
    return guest


def check_whole(wherry: flow.Flow, guest: labs.Guest, host: str) -> None:
    """It runs at one host only, its memory as it should be by its own count and by a dump of every page."""
    assert guest.where(active_only=False) == [host]
    passes = guest.beacon().passes
    flow.until(lambda: guest.beacon().passes >= passes + 2, "whole passes")
    guest.check_memory()
    server = wherry.server(guest)
    assert server is not None
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", host, None)
    # Last, since it pauses the guest for a moment.
    guest.check_memory_dump()


def check_deadline(move: flow.Move, what: str, tell: Tell, *, outage: float = 0.0) -> None:
    """The deadline did that, within a second of its time or of the agent's return, as the transfer's event tells it."""
    details = move.event(TRANSFER)["details"] or ""
    found = _ACTED.search(details)
    assert found is not None, details
    assert found[1] == what
    error = float(found[2]) - float(found[3]) - outage
    tell(f"deadline of {found[3]} s ({what}): {error:+.2f} s" + (f" after the agent's return, {outage:.2f} s late" if outage else ""))
    assert error < 1
    assert float(found[2]) >= float(found[3])


def check_pause(move: flow.Move, tell: Tell) -> None:
    """The record has the whole time that the guest stood still from when it was paused, not the switch-over alone."""
    stage = move.event(TRANSFER)
    found = _ACTED.search(stage["details"] or "")
    assert found is not None, stage
    began, ended = (datetime.datetime.fromisoformat(stage[name]) for name in ("start_time", "finish_time"))
    since = (ended - began).total_seconds() - float(found[2])
    counted = move.record["downtime_ms"] / 1000
    tell(f"stood still for {counted:.2f} s; {since:.2f} s from the pause to the end of the stage")
    # What is left of the stage after the guest runs at its destination is no pause.
    assert since - 1.5 < counted < since + 0.1


def deadline_at(move: flow.Move) -> float:
    """Give the deadline's time on the record, by the wall clock."""
    return datetime.datetime.fromisoformat(move.record["deadline_at"]).replace(tzinfo=datetime.UTC).timestamp()
