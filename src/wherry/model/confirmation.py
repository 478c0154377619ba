# SPDX-License-Identifier: Apache-2.0
"""When a cold migration or resize that waits is confirmed by itself. Pure: no clock, no I/O."""

from __future__ import annotations

import datetime

#: More of them would not fit into a number; the longest pause is reached long before.
_MOST_DOUBLINGS = 30


def due_at(rested_at: datetime.datetime, refusals: int, *, window_seconds: float, most_seconds: float) -> datetime.datetime | None:
    """Give that time; None: never.

    :param rested_at: when the last operation of the migration ended: the move, or a confirmation or way back that was given up.
    :param refusals: confirmations that were given up; each doubles the pause.
    :param most_seconds: longest pause, if the window itself is not longer.
    """
    if not window_seconds:
        return None
    doubled = min(most_seconds, window_seconds * 2 ** min(refusals, _MOST_DOUBLINGS))
    return rested_at + datetime.timedelta(seconds=max(window_seconds, doubled))
