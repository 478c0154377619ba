# SPDX-License-Identifier: Apache-2.0
"""The truth table: what both hypervisors show, and what we last meant to do, give the verdict on a transfer.

Pure. An error from the migrate call is never an outcome, and unreachable is never absent; every cell is tested.
"""

from __future__ import annotations

import dataclasses
import enum

from wherry.model.guest import GuestState

_S = GuestState


class LastIntent(enum.StrEnum):
    """What the agent last wrote down as its own doing, before doing it."""

    NONE = "none"
    ABORT = "abort"
    #: Force-complete by pausing the guest.
    PAUSE = "pause"
    #: Force-complete by switching to post-copy.
    POST_COPY = "post_copy"


class Verdict(enum.StrEnum):
    """What became of the transfer."""

    #: The guest is at the destination, and only there.
    COMPLETED = "completed"
    #: The guest is at the source, and the transfer is over: undo.
    FAILED = "failed"
    #: As failed, because we aborted it.
    CANCELLED = "cancelled"
    #: Each side holds a part of the memory; neither may be destroyed.
    BROKEN_POST_COPY = "broken_post_copy"
    #: Both sides run, or no side can be called the guest: keep everything, ask a person.
    CONFLICT = "conflict"
    #: Not known yet: ask again, keep status and slot.
    WAIT = "wait"
    #: Someone else stopped or destroyed the guest; nothing is started or resumed.
    GUEST_GONE = "guest_gone"


#: States in which a side holds the whole guest, runnable.
_WHOLE = frozenset({_S.RUNNING, _S.PAUSED})
#: States in which a side holds nothing that runs.
_NOTHING = frozenset({_S.ABSENT, _S.SHUT_OFF})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """What was read, the source's side first."""

    source: GuestState
    destination: GuestState
    #: Whether either hypervisor still has a job under way for it.
    has_job: bool = False


def verdict(sides: Sides, intent: LastIntent) -> Verdict:
    """Judge the two sides.

    The order of the questions matters: not knowing comes first, then a job under way, then the cases in which both sides hold a part,
    and only then who has the guest.
    """
    source, destination = sides.source, sides.destination
    if _S.UNREACHABLE in (source, destination):
        return Verdict.WAIT
    if _S.POST_COPY_FAILED in (source, destination):
        # With one side gone the other is not a whole guest: a person must look.
        return Verdict.CONFLICT if source in _NOTHING or destination in _NOTHING else Verdict.BROKEN_POST_COPY
    if sides.has_job or _S.POST_COPY in (source, destination):
        return Verdict.WAIT
    if source in _WHOLE:
        return _source_has_it(source, destination, intent)
    if source is _S.PAUSED_FOR_SWITCH_OVER:
        return _source_handed_over(destination, intent)
    return _source_has_nothing(destination)


def _source_has_it(source: GuestState, destination: GuestState, intent: LastIntent) -> Verdict:
    if destination in _NOTHING:
        return Verdict.CANCELLED if intent is LastIntent.ABORT else Verdict.FAILED
    if destination is _S.PAUSED_FOR_SWITCH_OVER:
        # The incoming side has not been torn down yet; the hypervisor does it on its own.
        return Verdict.WAIT
    if source is _S.PAUSED:
        # The copy arrived and the closing reply was lost: the destination wins over a source that does not run.
        return Verdict.COMPLETED
    # The source runs although the copy arrived. Its agent suspends it within a second; until it has, nobody may choose.
    return Verdict.CONFLICT


def _source_handed_over(destination: GuestState, intent: LastIntent) -> Verdict:
    if destination in _WHOLE:
        # The copy arrived, only the source's clean-up is missing.
        return Verdict.COMPLETED
    if destination in _NOTHING:
        # Paused at the end of a copy whose other side is gone: the whole guest is here, to be resumed by us, who stopped it.
        return Verdict.CANCELLED if intent is LastIntent.ABORT else Verdict.FAILED
    return Verdict.WAIT


def _source_has_nothing(destination: GuestState) -> Verdict:
    if destination in _WHOLE:
        return Verdict.COMPLETED
    if destination in _NOTHING:
        return Verdict.GUEST_GONE
    # The source is gone while the destination still waits for it.
    return Verdict.WAIT
