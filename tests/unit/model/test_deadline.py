# SPDX-License-Identifier: Apache-2.0
"""Budgets: what the request names is absolute, what is configured counts by GiB; the ramp follows Nova's formula."""

from __future__ import annotations

import pytest

from wherry.model import convergence, deadline

_GIB = 1 << 30


def _resolved(timeout: int | None, action: deadline.TimeoutAction | None, data: int = 4) -> deadline.Deadline:
    return deadline.resolve(
        requested_timeout_seconds=timeout,
        requested_action=action,
        configured_timeout_seconds_per_gib=800,
        configured_action=deadline.TimeoutAction.ABORT,
        data=data,
    )


@pytest.mark.parametrize(
    ("memory_mib", "disks", "expected"),
    [(512, (), 2), (2048, (), 2), (65536, (), 64), (8192, (10 * _GIB, 1), 8 + 10 + 2)],
)
def test_data_counts_memory_and_copied_disks_each_at_least_two(memory_mib: int, disks: tuple[int, ...], expected: int) -> None:
    """Nova's measure of what a transfer moves."""
    assert deadline.data_gib(memory_mib, disks) == expected


def test_the_configured_timeout_is_per_gib_and_the_requested_is_absolute() -> None:
    """A 64 GiB guest gets 51,200 s by default; a request for 300 s gets 300 s."""
    assert _resolved(None, None, data=64).timeout_seconds == 51_200
    assert _resolved(300, None, data=64).timeout_seconds == 300


def test_each_key_of_the_request_counts_alone() -> None:
    """An action in the request applies to the configured timeout, and the other way round."""
    only_action = _resolved(None, deadline.TimeoutAction.FORCE_COMPLETE)
    assert (only_action.timeout_seconds, only_action.timeout_origin) == (3200, deadline.Origin.CONFIGURATION)
    assert (only_action.on_timeout, only_action.on_timeout_origin) == (deadline.TimeoutAction.FORCE_COMPLETE, deadline.Origin.REQUEST)
    only_timeout = _resolved(60, None)
    assert (only_timeout.timeout_origin, only_timeout.on_timeout_origin) == (deadline.Origin.REQUEST, deadline.Origin.CONFIGURATION)


def test_zero_means_no_deadline() -> None:
    """Zero is not "at once"."""
    budget = _resolved(0, None)
    assert not budget.is_set
    assert convergence.on_deadline(budget, elapsed_seconds=10**9, is_post_copy=False) is convergence.Action.WAIT


def test_the_ramp_is_novas_for_two_gib() -> None:
    """Defaults for 2 GiB: 50, 95, ... 500 ms every 150 s."""
    ramp = convergence.downtime_ramp(downtime_ms=500, steps=10, delay_seconds=75, data_gib=2, budget=_resolved(None, None, data=2))
    assert [step.downtime_ms for step in ramp] == [50, 95, 140, 185, 230, 275, 320, 365, 410, 455, 500]
    assert [step.after_seconds for step in ramp] == [150.0 * i for i in range(11)]


def test_with_a_requested_timeout_the_ramp_ends_at_half_of_it() -> None:
    """Half of the budget is left at full downtime; a long budget does not stretch the ramp."""
    ramp = convergence.downtime_ramp(downtime_ms=500, steps=10, delay_seconds=75, data_gib=2, budget=_resolved(300, None))
    assert (ramp[-1].after_seconds, ramp[-1].downtime_ms) == (150.0, 500)
    long = convergence.downtime_ramp(downtime_ms=500, steps=10, delay_seconds=75, data_gib=2, budget=_resolved(10**6, None))
    assert long[-1].after_seconds == 1500.0


def test_downtime_at_a_moment_is_the_last_step_reached() -> None:
    """Between steps the last one holds; before the first, the first."""
    ramp = convergence.downtime_ramp(downtime_ms=500, steps=10, delay_seconds=75, data_gib=2, budget=_resolved(None, None))
    assert [convergence.downtime_at(ramp, seconds) for seconds in (0, 149.9, 150, 10_000)] == [50, 50, 95, 500]


def test_the_deadline_acts_at_its_time_and_never_in_post_copy() -> None:
    """Abort or force-complete as resolved; after the switch the source's memory is stale."""
    budget = _resolved(60, deadline.TimeoutAction.FORCE_COMPLETE)
    assert convergence.on_deadline(budget, elapsed_seconds=59.9, is_post_copy=False) is convergence.Action.WAIT
    assert convergence.on_deadline(budget, elapsed_seconds=60, is_post_copy=False) is convergence.Action.FORCE_COMPLETE
    assert convergence.on_deadline(_resolved(60, None), elapsed_seconds=61, is_post_copy=False) is convergence.Action.ABORT
    assert convergence.on_deadline(_resolved(60, None), elapsed_seconds=61, is_post_copy=True) is convergence.Action.WAIT
