# SPDX-License-Identifier: Apache-2.0
"""How long a transfer may take, where that comes from, and what happens then. Arithmetic only: no clock."""

from __future__ import annotations

import dataclasses
import datetime
import enum

_GIB = 1 << 30


class TimeoutAction(enum.StrEnum):
    """What is done to a transfer that has not ended by its deadline."""

    ABORT = "abort"
    FORCE_COMPLETE = "force_complete"


class Origin(enum.StrEnum):
    """Where an effective value comes from: those of the request never change, those of the configuration may."""

    REQUEST = "request"
    CONFIGURATION = "configuration"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Deadline:
    """The effective budget of one transfer."""

    #: Seconds from the start of the transfer; 0 = none.
    timeout_seconds: int
    timeout_origin: Origin
    on_timeout: TimeoutAction
    on_timeout_origin: Origin

    @property
    def is_set(self) -> bool:
        """Whether there is a deadline at all."""
        return self.timeout_seconds > 0


def data_gib(memory_mib: int, copied_disk_bytes: tuple[int, ...]) -> int:
    """Give Nova's measure of what a transfer moves: RAM and each copied disk, in GiB, each at least 2.

    Rule of Nova's libvirt driver (`_live_migration_data_gb`).
    """
    disks = sum(max(2, size // _GIB) for size in copied_disk_bytes)
    return max(2, memory_mib // 1024) + disks


def resolve(
    *,
    requested_timeout_seconds: int | None,
    requested_action: TimeoutAction | None,
    configured_timeout_seconds_per_gib: int,
    configured_action: TimeoutAction,
    data: int,
) -> Deadline:
    """Choose the effective values: what the request names is absolute, the configured timeout is per GiB of `data`."""
    from_request = requested_timeout_seconds is not None
    return Deadline(
        timeout_seconds=(requested_timeout_seconds if requested_timeout_seconds is not None else configured_timeout_seconds_per_gib * data),
        timeout_origin=Origin.REQUEST if from_request else Origin.CONFIGURATION,
        on_timeout=requested_action or configured_action,
        on_timeout_origin=Origin.REQUEST if requested_action else Origin.CONFIGURATION,
    )


def began_at(heard_at: datetime.datetime, elapsed_seconds: float) -> datetime.datetime:
    """Give when a transfer began of which was heard at that time that it had gone on for so long."""
    return _shifted(heard_at, -max(0.0, elapsed_seconds))


def ends_at(began: datetime.datetime, budget: Deadline) -> datetime.datetime | None:
    """Give when its budget is spent; None where it has none. One that outlasts the calendar ends with it."""
    return _shifted(began, budget.timeout_seconds) if budget.is_set else None


def _shifted(moment: datetime.datetime, seconds: float) -> datetime.datetime:
    try:
        return moment + datetime.timedelta(seconds=seconds)
    except OverflowError:
        edge = datetime.datetime.max if seconds > 0 else datetime.datetime.min
        return edge.replace(tzinfo=datetime.UTC)
