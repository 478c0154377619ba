# SPDX-License-Identifier: Apache-2.0
"""What samples say: medians, ratios, and whether an aim is met. Pure."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

#: What the comparison with a bare migration aims at.
MAX_RATIO = 1.10
MAX_OVERHEAD_MS = 150.0
#: A bare migration shorter than this says nothing about the ratio.
MIN_BARE_SECONDS = 2.0
#: With the hosts far away, the asynchronous answer takes less than this part of the blocking one.
MAX_ANSWER_PART = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One guest, moved through Wherry and by virsh in turn; in seconds."""

    #: From the POST to the answer that shows `completed`.
    wherry: Sequence[float]
    #: The same by the time that the record bears.
    recorded: Sequence[float]
    #: `virsh migrate`, from start to end of the program.
    virsh: Sequence[float]

    @property
    def ratio(self) -> float:
        """Give how much longer it takes through Wherry."""
        return statistics.median(self.wherry) / statistics.median(self.virsh)

    @property
    def overhead_ms(self) -> float:
        """Give how many milliseconds longer it takes."""
        return (statistics.median(self.wherry) - statistics.median(self.virsh)) * 1000

    @property
    def is_long_enough(self) -> bool:
        """Whether the bare migration takes long enough for a ratio to mean anything."""
        return statistics.median(self.virsh) >= MIN_BARE_SECONDS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """How long requests waited for their answer; in seconds."""

    control_delay_ms: float
    asynchronous: Sequence[float]
    blocking: Sequence[float]

    @property
    def part(self) -> float:
        """Give the asynchronous answer's time as a part of the blocking one's."""
        return statistics.median(self.asynchronous) / statistics.median(self.blocking)

    @property
    def is_fast(self) -> bool:
        """Whether the asynchronous answer takes less than a tenth; asked only where hosts are far away."""
        return self.part < MAX_ANSWER_PART or not self.control_delay_ms


def comparison_lines(moved: Comparison, idle: Comparison) -> list[str]:
    """Say what the comparison with bare migrations showed."""
    length = "" if moved.is_long_enough else f" (too short to count: give the guest more memory for {MIN_BARE_SECONDS:g} s)"
    return [
        f"ratio: {moved.ratio:.2f}",
        f"  a guest with memory to copy, POST to completed: {_median(moved.wherry)}",
        f"  the same guest by virsh migrate:                {_median(moved.virsh)}{length}",
        f"  aim {MAX_RATIO:.2f} or less: {_met(moved.ratio <= MAX_RATIO)}",
        f"overhead: {idle.overhead_ms:.0f} ms",
        f"  an idle guest, POST to completed: {_median(idle.wherry)}",
        f"  the same guest by virsh migrate:  {_median(idle.virsh)}",
        f"  aim {MAX_OVERHEAD_MS:.0f} ms or less: {_met(idle.overhead_ms <= MAX_OVERHEAD_MS)}",
    ]


def answer_lines(answers: Answers) -> list[str]:
    """Say how the two kinds of answers compare."""
    verdict = f"; less than a tenth: {'yes' if answers.is_fast else 'NO'}" if answers.control_delay_ms else ""
    return [
        f"answers with {answers.control_delay_ms:g} ms between control plane and hosts:",
        f"  2.34, the 202:             median {statistics.median(answers.asynchronous) * 1000:.1f} ms of {len(answers.asynchronous)}",
        f"  2.30, after the checks:    median {statistics.median(answers.blocking) * 1000:.1f} ms of {len(answers.blocking)}",
        f"  the 202 takes {answers.part:.3f} of it{verdict}",
    ]


def _median(samples: Sequence[float]) -> str:
    return f"median {statistics.median(samples):.3f} s of {len(samples)} ({min(samples):.3f} to {max(samples):.3f})"


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"
