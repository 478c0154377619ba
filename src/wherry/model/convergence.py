# SPDX-License-Identifier: Apache-2.0
"""The downtime ramp, and what to do with a transfer at one moment. Pure: decides, never acts."""

from __future__ import annotations

import dataclasses
import enum

from wherry.model.deadline import Deadline, Origin, TimeoutAction


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DowntimeStep:
    """From `after_seconds` on, the guest may be paused for up to `downtime_ms` at switch-over."""

    after_seconds: float
    downtime_ms: int


def downtime_ramp(*, downtime_ms: int, steps: int, delay_seconds: int, data_gib: int, budget: Deadline) -> tuple[DowntimeStep, ...]:
    """Give Nova's ramp: from a small pause to the configured one in equal steps.

    Nova's formula (`downtime_steps` in its libvirt migration module). With a timeout that the request named, the maximum is
    reached at half of it, so that half of the budget is left at full downtime (the per-request timeout proposal's rule).
    """
    base = downtime_ms / steps
    offset = (downtime_ms - base) / steps
    interval = float(delay_seconds * data_gib)
    if budget.is_set and budget.timeout_origin is Origin.REQUEST:
        interval = min(interval, budget.timeout_seconds / 2 / steps)
    return tuple(DowntimeStep(after_seconds=interval * i, downtime_ms=int(base + offset * i)) for i in range(steps + 1))


def downtime_at(ramp: tuple[DowntimeStep, ...], elapsed_seconds: float) -> int:
    """Give the downtime in milliseconds that the ramp allows at this moment."""
    allowed = [step.downtime_ms for step in ramp if step.after_seconds <= elapsed_seconds]
    return allowed[-1] if allowed else ramp[0].downtime_ms


class Action(enum.StrEnum):
    """What the monitor should do now, beside watching."""

    WAIT = "wait"
    ABORT = "abort"
    FORCE_COMPLETE = "force_complete"


def on_deadline(budget: Deadline, *, elapsed_seconds: float, is_post_copy: bool) -> Action:
    """Decide whether the deadline acts now. Once in post-copy it no longer does: the source's memory is stale."""
    if is_post_copy or not budget.is_set or elapsed_seconds < budget.timeout_seconds:
        return Action.WAIT
    return Action.ABORT if budget.on_timeout is TimeoutAction.ABORT else Action.FORCE_COMPLETE
