# SPDX-License-Identifier: Apache-2.0
"""One transfer: how much is left to send, and when the next interesting moment comes.

Arithmetic on passes over memory; moves no guest and sets no timer.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from wherry.drivers import base
from wherry.drivers.simulated import fleet, network, timeline
from wherry.model import guest, progress

#: What the guest's devices take at switch-over, beside memory.
DEVICE_STATE_BYTES = 256 << 10


class Stage(enum.Enum):
    """How far a transfer has come."""

    #: Disks are copied; the guest runs at the source.
    DISKS = "disks"
    #: Passes over the memory; the guest runs at the source, or somebody has paused it.
    MEMORY = "memory"
    #: Paused at the source, what is left of the memory follows.
    SWITCH_OVER = "switch_over"
    #: All is sent; it takes the way to the destination.
    ARRIVING = "arriving"
    #: Runs at the destination, the rest of its memory follows.
    POST_COPY = "post_copy"
    #: Runs at the destination; the source has not been told yet.
    CLOSING = "closing"
    #: Post-copy has lost its connection: each side has a part.
    BROKEN = "broken"
    ENDED = "ended"


#: Stages in which bytes cross the links.
SENDING = frozenset({Stage.DISKS, Stage.MEMORY, Stage.SWITCH_OVER, Stage.POST_COPY})
#: Stages in which the whole guest is at the source still.
UNDECIDED = frozenset({Stage.DISKS, Stage.MEMORY, Stage.SWITCH_OVER, Stage.ARRIVING})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be sent, from where to where, and how."""

    operation_id: str
    spec: fleet.GuestSpec
    source: fleet.Host
    destination: fleet.Host
    options: base.TransferOptions
    disk_bytes: int
    #: Whether the guest was paused before the start: it stays so.
    is_paused: bool
    #: Whether both sides could write the disks at once: nothing keeps the source from resuming what has arrived.
    has_unlocked_disks: bool
    #: The driver object that asked for it; only there its error is known.
    owner: object


class Transfer:
    """State of one transfer. Bytes are floats: the model is a fluid."""

    __slots__ = (
        "at",
        "dirtied",
        "dirty_rate",
        "downtime_seconds",
        "due",
        "elapsed",
        "entry",
        "error",
        "expected_downtime_ms",
        "is_held",
        "iteration",
        "latency",
        "left",
        "limit_bytes_per_second",
        "links",
        "measured_downtime",
        "measured_rate",
        "order",
        "pass_began",
        "paused_at",
        "processed",
        "rate",
        "reply_lost_seconds",
        "stage",
        "started_at",
        "wants_post_copy",
        "was_disk_sent",
    )

    def __init__(self, order: Order, links: tuple[network.Link, ...], now: float) -> None:
        spec = order.spec
        self.order = order
        self.links = links
        self.latency = sum(link.latency_seconds for link in links)
        self.limit_bytes_per_second = limit(order.options.bandwidth_mib_per_s)
        self.rate = 0.0
        self.stage = Stage.DISKS if order.disk_bytes else Stage.MEMORY
        #: Bytes left in this stage, or in this pass.
        self.left = float(order.disk_bytes) or float(spec.memory_mib * network.MIB)
        #: Bytes changed since this pass began, each page counted once.
        self.dirtied = 0.0
        self.dirty_rate = 0.0 if order.is_paused else spec.dirty_mib_per_s * network.MIB
        self.processed = 0.0
        self.iteration = 0 if order.disk_bytes else 1
        self.downtime_seconds = max(1, order.options.downtime_ms) / 1000
        self.expected_downtime_ms: int | None = None
        self.measured_downtime: float | None = None
        #: Bytes dirtied a second, over the last whole pass.
        self.measured_rate = 0.0
        self.started_at = now
        self.pass_began = now
        #: When a person, or an agent, paused its guest; None: nobody has.
        self.paused_at: float | None = None
        self.at = now
        self.elapsed = 0.0
        self.was_disk_sent = not order.disk_bytes
        #: End of a stage in which nothing is sent.
        self.due = math.inf
        #: Whether it is kept from switching over by a daemon that does not answer.
        self.is_held = False
        self.wants_post_copy = False
        #: Seconds that the source waits for a reply that never comes; None: it comes.
        self.reply_lost_seconds: float | None = None
        self.error = ""
        self.entry: timeline.Entry | None = None

    @property
    def memory_total(self) -> int:
        """Bytes of memory that the guest has."""
        return self.order.spec.memory_mib * network.MIB

    @property
    def working_set(self) -> float:
        """Bytes of memory that the guest changes."""
        wished = self.order.spec.working_set_mib
        return float(self.memory_total) if wished is None else min(wished * network.MIB, float(self.memory_total))

    @property
    def outstanding(self) -> float:
        """Bytes that the destination lacks, if nothing more were dirtied: each page once.

        Of the pages dirtied in this pass some were not sent in it yet anyway, as many as are not sent of all that it concerns.
        """
        scope = self.memory_total if self.iteration <= 1 else max(self.working_set, self.left)
        return self.left + self.dirtied * (1 - min(1.0, self.left / scope)) if scope > 0 else self.left

    def settle(self, now: float) -> None:
        """Account for what happened since the last time at the rate that held until now."""
        seconds = now - self.at
        self.at = now
        if seconds <= 0:
            return
        self.elapsed += seconds
        if self.stage not in SENDING or self.is_held:
            if self.stage is Stage.MEMORY:
                self._dirty(seconds)
            return
        sent = min(self.left, self.rate * seconds)
        self.left -= sent
        if self.stage is not Stage.DISKS:
            self.processed += sent
            self._dirty(seconds)

    def _dirty(self, seconds: float) -> None:
        if self.stage is Stage.MEMORY:
            self.dirtied = min(self.working_set, self.dirtied + self.dirty_rate * seconds)

    def next_moment(self) -> float:
        """Give the time at which this stage or pass ends if nothing changes; infinite for never."""
        if self.stage in SENDING:
            if self.is_held or (self.rate <= 0 and self.left > 0):
                return math.inf
            return self.at + (self.left / self.rate if self.left > 0 else 0.0)
        return self.due

    def can_switch_over(self) -> bool:
        """Whether what is left fits into the allowed downtime now."""
        remaining = self.outstanding
        return remaining <= 0 or (self.rate > 0 and remaining / self.rate <= self.downtime_seconds)

    def begin_pass(self) -> None:
        """End this pass over the memory and begin the next with what was dirtied meanwhile."""
        seconds = self.at - self.pass_began
        if seconds > 0:
            self.measured_rate = self.dirtied / seconds
        self.left += self.dirtied
        self.dirtied = 0.0
        self.pass_began = self.at
        self.iteration += 1
        if self.rate > 0:
            self.expected_downtime_ms = round(self.left / self.rate * 1000)

    def begin_memory(self) -> None:
        """Go on from the disks to the first pass over the memory."""
        self.stage = Stage.MEMORY
        self.was_disk_sent = True
        self.left = float(self.memory_total)
        self.dirtied = 0.0
        self.pass_began = self.at
        self.iteration = 1

    def begin_last_part(self, stage: Stage) -> None:
        """Go on to switch-over or post-copy: nothing is dirtied at the source any more."""
        self.left = self.outstanding + DEVICE_STATE_BYTES
        self.dirtied = 0.0
        self.stage = stage
        if self.rate > 0:
            self.expected_downtime_ms = round(self.left / self.rate * 1000)
        self.pass_began = self.at

    def read(self) -> progress.Progress:
        """Give the counters as a hypervisor shows them; settle first."""
        total = self.memory_total
        is_sent = self.stage in (Stage.ARRIVING, Stage.CLOSING)
        memory_left = total if self.stage is Stage.DISKS else min(total, int(self.left))
        disk_left = int(self.left) if self.stage is Stage.DISKS else (0 if self.was_disk_sent else self.order.disk_bytes)
        return progress.Progress(
            memory_total_bytes=total,
            memory_processed_bytes=int(self.processed),
            memory_remaining_bytes=0 if is_sent else memory_left,
            disk_total_bytes=self.order.disk_bytes,
            disk_processed_bytes=self.order.disk_bytes - disk_left,
            disk_remaining_bytes=disk_left,
            iteration=self.iteration,
            dirty_bytes_per_second=int(self.measured_rate),
            memory_bytes_per_second=int(self.rate) if math.isfinite(self.rate) and self.stage is not Stage.DISKS else 0,
            expected_downtime_ms=self.expected_downtime_ms,
            downtime_ms=None if self.measured_downtime is None else max(1, round(self.measured_downtime * 1000)),
            elapsed_ms=round(self.elapsed * 1000),
        )

    def send_everything(self) -> None:
        """Account for a copy that takes no time."""
        self.processed = float(self.memory_total)
        self.left = self.dirtied = 0.0
        self.iteration = 1
        self.was_disk_sent = True
        self.measured_downtime = 0.0


def limit(bandwidth_mib_per_s: int) -> float:
    """Give a bandwidth limit in bytes a second; 0 is none."""
    return bandwidth_mib_per_s * network.MIB if bandwidth_mib_per_s > 0 else math.inf


def has_unlocked_disks(spec: fleet.GuestSpec, source: fleet.Host, copied: frozenset[str]) -> bool:
    """Whether nothing would keep both sides from writing the guest's disks at once."""
    for disk in spec.disks:
        store = source.store_of(disk.source)
        is_locked = store is not None and store.has_locks and not disk.shareable and disk.name not in copied
        if disk.kind is not guest.DiskKind.NONE and not disk.read_only and not is_locked:
            return True
    return not spec.disks
