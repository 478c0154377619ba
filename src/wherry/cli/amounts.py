# SPDX-License-Identifier: Apache-2.0
"""Amounts and times as people read them, and rates from counters. Pure."""

from __future__ import annotations

import dataclasses
import datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Write an amount of bytes, "1.5 GiB"."""
    unit = 0
    while abs(count) >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Write a time, "1:05" or "2:00:05"."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """What two looks are compared by."""

    at: datetime.datetime
    processed_bytes: int
    remaining_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Bytes a second between two looks."""

    sent: float
    #: What the guest wrote meanwhile and has to be sent again. An estimate: pages of zeros are sent without being counted.
    dirtied: float


def rates(before: Counters, after: Counters) -> Rates | None:
    """Give the rates between two looks; None when the counters did not move on.

    What remains falls by what is sent and grows by what is dirtied, so that the two counters tell the third.
    """
    seconds = (after.at - before.at).total_seconds()
    sent = after.processed_bytes - before.processed_bytes
    if seconds <= 0 or sent <= 0:
        return None
    dirtied = sent + after.remaining_bytes - before.remaining_bytes
    return Rates(sent=sent / seconds, dirtied=max(0, dirtied) / seconds)
