# SPDX-License-Identifier: Apache-2.0
"""Estimates are ranges that rest on what happened, and say None rather than promise."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.model import deadline, feasibility

_GIB = 1 << 30
_MIB_PER_S = 1 << 20
_ABORT, _FORCE = deadline.TimeoutAction.ABORT, deadline.TimeoutAction.FORCE_COMPLETE


def _deadline(seconds: int, action: deadline.TimeoutAction = _ABORT) -> deadline.Deadline:
    by = deadline.Origin.REQUEST
    return deadline.Deadline(timeout_seconds=seconds, timeout_origin=by, on_timeout=action, on_timeout_origin=by)


def _past(
    seconds: float, *, is_same_server: bool = True, mib_per_s: int = 100, copied: int = 0, pause_ms: int | None = None
) -> feasibility.Past:
    return feasibility.Past(
        is_same_server=is_same_server,
        seconds=seconds,
        bytes_per_second=mib_per_s * _MIB_PER_S,
        copied_bytes=copied,
        pause_ms=pause_ms,
    )


def _estimate(
    *past: feasibility.Past, seconds: int = 0, action: deadline.TimeoutAction | None = None, **fields: Any
) -> feasibility.Estimate:
    defaults: dict[str, Any] = {"memory_bytes": 4 * _GIB, "copied_bytes": 0, "configured_pause_ms": 500}
    return feasibility.estimate(past=past, deadline=_deadline(seconds, action or _ABORT), action=action, **defaults | fields)


def _seconds(found: feasibility.Estimate) -> tuple[int | None, int | None]:
    return found.seconds_low, found.seconds_high


def test_nothing_known_is_nothing_promised() -> None:
    found = _estimate()
    assert (_seconds(found), found.pause_ms_low, found.pause_ms_high) == ((0, None), 0, 1000)
    assert found.basis == "no earlier live migration"


def test_others_out_of_the_same_host_tell_no_time() -> None:
    """They tell the bandwidth; how much a guest dirties they do not."""
    assert _seconds(_estimate(_past(10, is_same_server=False))) == (0, None)


@pytest.mark.parametrize(("action", "high"), [(_ABORT, 60), (_FORCE, 142)])
def test_a_deadline_bounds_it(action: deadline.TimeoutAction, high: int) -> None:
    """An abort at its time; by force after it, when all is sent once more: 4 GiB at half of the slowest 100 MiB/s."""
    assert _seconds(_estimate(_past(10, is_same_server=False), seconds=60, action=action)) == (0, high)


def test_a_deadline_that_nothing_can_keep_bounds_nothing() -> None:
    assert _seconds(_estimate(seconds=60)) == (0, None)
    assert _seconds(_estimate(seconds=60, action=_FORCE)) == (0, None), "how fast it sends is not known"


def test_the_servers_own_past_gives_a_wide_range() -> None:
    found = _estimate(_past(10, pause_ms=40), _past(30, pause_ms=90), _past(99, is_same_server=False))
    assert _seconds(found) == (5, 60)
    assert (found.pause_ms_low, found.pause_ms_high) == (20, 1000)
    assert _seconds(_estimate(_past(10), _past(30), seconds=20, action=_ABORT)) == (5, 20)


def test_disks_that_travel_now_and_did_not_then_take_longer() -> None:
    """100 GiB more at half of 100 MiB/s; a past without them promises nothing about them."""
    assert _seconds(_estimate(_past(10), copied_bytes=100 * _GIB)) == (5, 2068)
    assert _seconds(_estimate(_past(10, mib_per_s=0), copied_bytes=100 * _GIB)) == (5, None)
    assert _seconds(_estimate(_past(1000, copied=100 * _GIB), copied_bytes=100 * _GIB)) == (500, 2000)


def test_disks_that_travelled_then_and_do_not_now_may_have_been_all_of_it() -> None:
    assert _seconds(_estimate(_past(1000, copied=100 * _GIB))) == (0, 2000)


def test_a_pause_by_force_may_last_until_all_is_sent() -> None:
    assert _estimate(_past(10), seconds=60, action=_FORCE).pause_ms_high == 81_920
    assert _estimate(seconds=60, action=_FORCE).pause_ms_high is None


def test_a_pause_by_force_makes_no_lower_end() -> None:
    """It stood still for 76 s when it was forced; the next time it may converge. By force it may be that long again."""
    found = _estimate(_past(10, pause_ms=76_000), seconds=60, action=_ABORT)
    assert (found.pause_ms_low, found.pause_ms_high) == (250, 152_000)
    found = _estimate(_past(10, mib_per_s=1000, pause_ms=76_000), seconds=60, action=_FORCE)
    assert (found.pause_ms_low, found.pause_ms_high) == (250, 76_000)
