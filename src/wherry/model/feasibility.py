# SPDX-License-Identifier: Apache-2.0
"""What would become of a live migration: per host allowed or why not, and a range for its time and its pause. Pure.

An estimate never promises: what nothing is known of is None, and ranges are wide on purpose.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from wherry.model.deadline import Deadline, TimeoutAction


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Blocker:
    """One reason why not."""

    slug: str
    message: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Ranges; None = not known, or no bound."""

    seconds_low: int | None = None
    seconds_high: int | None = None
    pause_ms_low: int | None = None
    pause_ms_high: int | None = None
    #: What it rests on, in words.
    basis: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What was found out about one destination."""

    host: str
    #: None: it passes by its record, and its hypervisor was not asked.
    is_allowed: bool | None
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[str, ...] = ()
    #: Timeout actions that a request to it may name.
    timeout_actions: tuple[TimeoutAction, ...] = ()
    #: Whether disks would be copied; None: not known.
    is_block_migration: bool | None = None
    estimate: Estimate | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Feasibility:
    """The whole answer."""

    source: str
    #: Reasons that no destination would change.
    blockers: tuple[Blocker, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether there is a host that would be taken."""
        return not self.blockers and any(one.is_allowed for one in self.candidates)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """A live migration that completed."""

    is_same_server: bool
    seconds: float
    bytes_per_second: int
    #: Of disks that travelled with it.
    copied_bytes: int = 0
    pause_ms: int | None


#: How much slower or faster than before it may go.
_SPREAD = 2.0


def estimate(
    *,
    memory_bytes: int,
    copied_bytes: int,
    past: Sequence[Past],
    deadline: Deadline,
    action: TimeoutAction | None,
    configured_pause_ms: int,
) -> Estimate:
    """Estimate from what happened before: of the same server if it has moved, otherwise of others out of the same host.

    :param copied_bytes: of disks that would travel.
    :param action: what would be done at the deadline; None = nothing ever.
    """
    own = [one for one in past if one.is_same_server]
    slowest = min((one.bytes_per_second for one in past if one.bytes_per_second > 0), default=0)
    once = (memory_bytes + copied_bytes) * _SPREAD / slowest if slowest else None
    low, high = _by_own(own, copied_bytes, slowest) if own else (0.0, None)
    bound = None
    if deadline.is_set and action is TimeoutAction.ABORT:
        bound = float(deadline.timeout_seconds)
    elif deadline.is_set and action is TimeoutAction.FORCE_COMPLETE and once is not None:
        bound = deadline.timeout_seconds + once
    if bound is not None:
        high = bound if high is None else min(high, bound)
        low = min(low, high)
    pauses = [one.pause_ms for one in own if one.pause_ms is not None]
    return Estimate(
        seconds_low=math.floor(low),
        seconds_high=None if high is None else math.ceil(high),
        # One that was forced to complete by a pause may converge the next time.
        pause_ms_low=int(min([configured_pause_ms, *pauses]) / _SPREAD) if pauses else 0,
        pause_ms_high=_longest_pause(pauses, once, action, configured_pause_ms),
        basis=_basis(len(own), len(past), deadline, action),
    )


def _by_own(own: Sequence[Past], copied_bytes: int, slowest: int) -> tuple[float, float | None]:
    """Give the range by how long this server took before; what is copied now and was not then comes on top, and the reverse."""
    low = min(0.0 if one.copied_bytes > copied_bytes else one.seconds / _SPREAD for one in own)
    more = max(0, *(copied_bytes - one.copied_bytes for one in own))
    if more and not slowest:
        return low, None
    return low, (max(one.seconds for one in own) + (more / slowest if more else 0.0)) * _SPREAD


def _longest_pause(pauses: Sequence[int], once: float | None, action: TimeoutAction | None, configured_pause_ms: int) -> int | None:
    """Forced by a pause, the guest may stand still for as long as everything takes to be sent once."""
    if action is TimeoutAction.FORCE_COMPLETE:
        return None if once is None else math.ceil(max([once * 1000, *pauses]))
    return math.ceil(max([configured_pause_ms, *pauses]) * _SPREAD)


def _basis(own: int, others: int, deadline: Deadline, action: TimeoutAction | None) -> str:
    if own:
        text = f"{_counted(own)} of this server"
    elif others:
        text = f"{_counted(others)} out of the same host"
    else:
        text = "no earlier live migration"
    if deadline.is_set and action is not None:
        text += f", and the deadline of {deadline.timeout_seconds} s ({deadline.timeout_origin.value}), {action.value}"
    return text


def _counted(number: int) -> str:
    return f"{number} earlier live migration{'' if number == 1 else 's'}"
