# SPDX-License-Identifier: Apache-2.0
"""Post-copies that libvirt calls failed: whether memory flows all the same, and whether a source must be told of the break.

Seen on libvirt 9.0 with QEMU 7.2; jobStats() goes on counting in this state:

- About one resumption in ten, made in the second after the break: the call fails ("job 'migration in' failed in post-copy phase"), QEMU
  has connected again nevertheless, memory flows to its end, and libvirt then removes the source as after any success. Until that end the
  source is "paused (post-copy failed)" and each further resumption is refused ("QEMU reports migration is still running"): 23 s for 24
  MiB at 1 MiB/s. The destination says "running (post-copy)".
- The connection is closed at the destination, and nothing of that reaches the source: QEMU there goes on until the buffers are full (2.5 s
  at 1 MiB/s), then waits for as long as TCP tries again, about a quarter of an hour, and refuses each resumption in the same words.
  abortJobFlags(VIR_DOMAIN_ABORT_JOB_POSTCOPY) closes its end: it is paused at once, nothing is lost, and the next resumption works.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import libvirt

from wherry import clock as wherry_clock
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.drivers.libvirt import job, observe
from wherry.model import guest
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)

#: How long what the sockets hold may go on after the break, and be mistaken for a flow.
_AFTERMATH_SECONDS = 5.0
#: Fewer bytes are no memory: a pause alone counts as eight.
_LEAST_BYTES = 64 << 10


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A guest's job and state at one moment."""

    job: job.Job
    state: guest.GuestState
    detail: str = ""

    @property
    def sent_bytes(self) -> int:
        """What has been sent of its memory."""
        return int(self.job.statistics.get("memory_processed", 0))


@dataclasses.dataclass(slots=True)
class _Failure:
    failed_at: float
    sent_bytes: int
    moved_at: float
    #: Since when each resumption is refused by a source that reaches its destination, and nothing moves.
    refused_at: float | None = None


class Failures:
    """The post-copies of one host that libvirt calls failed, as they were seen again and again."""

    def __init__(self, section: libvirt_config.LibvirtSection, clock: wherry_clock.Clock) -> None:
        self._section = section
        self._clock = clock
        self._known: dict[str, _Failure] = {}

    def corrected(self, instance_uuid: str, seen: Look) -> Look:
        """Note a look, and give it as it is: one that is failed by name, and whose memory flows, is a post-copy under way."""
        if seen.state is not guest.GuestState.POST_COPY_FAILED:
            self._known.pop(instance_uuid, None)
            return seen
        now = self._clock.monotonic()
        known = self._known.setdefault(instance_uuid, _Failure(now, seen.sent_bytes, now))
        if seen.sent_bytes >= known.sent_bytes + _LEAST_BYTES:
            known.sent_bytes, known.moved_at, known.refused_at = seen.sent_bytes, now, None
        is_moving = now - known.moved_at <= self._section.live_migration_post_copy_idle_seconds
        if is_moving and known.moved_at - known.failed_at >= _AFTERMATH_SECONDS:
            return dataclasses.replace(seen, state=guest.GuestState.POST_COPY, detail="post-copy flows, though libvirt calls it failed")
        return seen

    def note_attempt(self, instance_uuid: str, *, is_refused: bool) -> bool:
        """Note a resumption that failed; say whether its source does not know of the break, and must be told.

        That takes refusals only for some time, and nothing sent meanwhile. Anything else may be the network, over which TCP comes back by
        itself: after an outage it tries again within as long as that lasted.
        """
        known = self._known.get(instance_uuid)
        if known is None:
            return False
        if not is_refused:
            known.refused_at = None
            return False
        now, limit = self._clock.monotonic(), self._section.live_migration_post_copy_stuck_seconds
        if known.refused_at is None:
            known.refused_at = now
        return limit > 0 and now - known.refused_at >= limit


def look(handle: libvirt.virConnect, instance_uuid: str) -> Look:
    """Read state and job; a guest that is gone has no job."""
    try:
        domain = observe.find(handle, instance_uuid)
        if domain is None:
            return Look(job.NO_JOB, guest.GuestState.ABSENT)
        state, current, detail = observe.read(domain)
    except libvirt.libvirtError as problem:
        # It went while we looked.
        if libvirt_errors.code(problem) != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return Look(job.NO_JOB, guest.GuestState.ABSENT)
    return Look(current, state, detail)


def close_at_source(handle: libvirt.virConnect, instance_uuid: str) -> bool:
    """Pause a post-copy that libvirt calls failed, so that it can be resumed; say whether that was done. Ends nothing on either side."""
    domain = observe.find(handle, instance_uuid)
    if domain is None or observe.read(domain)[0] is not guest.GuestState.POST_COPY_FAILED:
        return False
    try:
        domain.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)
    except libvirt.libvirtError as problem:
        # It is paused already, or flows: then something else keeps it from being resumed.
        _log.info("a post-copy was not paused", instance_uuid=instance_uuid, error=libvirt_errors.text(problem))
        return False
    _log.warning("a post-copy whose source had not noticed the break was paused, to be resumed", instance_uuid=instance_uuid)
    return True
