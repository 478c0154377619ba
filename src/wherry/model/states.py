# SPDX-License-Identifier: Apache-2.0
"""Statuses of migrations, live and cold, and the only table of legal moves.

Pure: no clock, no I/O. Everything that decides legality lives here; `db` stores what `advance` returns and no other code assigns a status.
"""

from __future__ import annotations

import enum

from wherry import errors


class Status(enum.StrEnum):
    """Nova's statuses of migrations, as the wire shows them: first a live one's, then those that only a cold one or a resize has."""

    #: Recorded; the checks have not passed yet.
    ACCEPTED = "accepted"
    #: Checked; waits until both ends and the cluster have a slot.
    QUEUED = "queued"
    #: Holds its slots; the destination makes ready.
    PREPARING = "preparing"
    #: The guest's memory is being copied; it runs at the source.
    RUNNING = "running"
    #: The guest runs at the destination; the rest of its memory follows.
    POST_COPY = "running (post-copy)"
    #: The guest runs at the destination.
    COMPLETED = "completed"
    #: The hypervisor failed; rolled back, the guest is at the source.
    FAILED = "failed"
    #: Aborted by a person or by the deadline; rolled back.
    CANCELLED = "cancelled"
    #: A check failed and nothing was touched, or an inconsistency was found that is kept as evidence. `reason` tells which.
    ERROR = "error"
    #: Recorded; a destination is being chosen and checked, nothing was touched.
    PRE_MIGRATING = "pre-migrating"
    #: The guest is shut down at the source, and its disks are sent.
    MIGRATING = "migrating"
    #: All of it is at the destination, which takes the guest in.
    POST_MIGRATING = "post-migrating"
    #: The guest is at the destination; the source keeps definition and disks until somebody confirms or reverts.
    FINISHED = "finished"
    #: The source gives up what it kept.
    CONFIRMING = "confirming"
    #: The guest is at the destination for good.
    CONFIRMED = "confirmed"
    #: The guest goes back to what the source kept.
    REVERTING = "reverting"
    #: The guest is at the source again, as it was.
    REVERTED = "reverted"


class Event(enum.StrEnum):
    """What may happen to a migration, in the past tense."""

    CHECKS_PASSED = "checks_passed"
    CHECK_FAILED = "check_failed"
    ADMITTED = "admitted"
    #: The destination could not make ready and was cleared; another is tried.
    DESTINATION_LOST = "destination_lost"
    TRANSFER_STARTED = "transfer_started"
    POST_COPY_STARTED = "post_copy_started"
    ARRIVED = "arrived"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    FOUND_INCONSISTENT = "found_inconsistent"
    MOVE_STARTED = "move_started"
    MOVED = "moved"
    TAKEN_IN = "taken_in"
    CONFIRM_STARTED = "confirm_started"
    CONFIRMED = "confirmed"
    REVERT_STARTED = "revert_started"
    REVERTED = "reverted"
    #: A confirm or a revert could not be done; nothing of the guest was given up.
    GIVEN_UP = "given_up"


#: The whole machine: status, event, next status. A status with an empty row is terminal.
TRANSITIONS: dict[Status, dict[Event, Status]] = {
    Status.ACCEPTED: {
        Event.CHECKS_PASSED: Status.QUEUED,
        # Nothing was touched: that is what tells this error from the one below.
        Event.CHECK_FAILED: Status.ERROR,
        # Only Wherry itself aborts here (the server is deleted or reset); the API refuses a person's abort before `queued`.
        Event.ABORTED: Status.CANCELLED,
    },
    Status.QUEUED: {
        Event.ADMITTED: Status.PREPARING,
        # Checks older than check_ttl_seconds run again when a migration leaves the queue.
        Event.CHECK_FAILED: Status.ERROR,
        Event.ABORTED: Status.CANCELLED,
    },
    Status.PREPARING: {
        Event.TRANSFER_STARTED: Status.RUNNING,
        Event.DESTINATION_LOST: Status.QUEUED,
        Event.ROLLED_BACK: Status.FAILED,
        Event.ABORTED: Status.CANCELLED,
        Event.FOUND_INCONSISTENT: Status.ERROR,
    },
    Status.RUNNING: {
        Event.POST_COPY_STARTED: Status.POST_COPY,
        Event.ARRIVED: Status.COMPLETED,
        Event.ROLLED_BACK: Status.FAILED,
        Event.ABORTED: Status.CANCELLED,
        Event.FOUND_INCONSISTENT: Status.ERROR,
    },
    Status.POST_COPY: {
        # No abort here: the source's memory is stale, so aborting would lose the guest.
        Event.ARRIVED: Status.COMPLETED,
        # The guest was stopped by someone else, on whichever side it was.
        Event.ROLLED_BACK: Status.FAILED,
        Event.FOUND_INCONSISTENT: Status.ERROR,
    },
    Status.COMPLETED: {},
    Status.FAILED: {},
    Status.CANCELLED: {},
    Status.ERROR: {},
    Status.PRE_MIGRATING: {
        Event.MOVE_STARTED: Status.MIGRATING,
        Event.CHECK_FAILED: Status.ERROR,
        Event.ABORTED: Status.CANCELLED,
    },
    Status.MIGRATING: {
        Event.MOVED: Status.POST_MIGRATING,
        Event.ROLLED_BACK: Status.FAILED,
        # Only Wherry itself aborts here, when the server's state is reset.
        Event.ABORTED: Status.CANCELLED,
    },
    Status.POST_MIGRATING: {
        Event.TAKEN_IN: Status.FINISHED,
        Event.ROLLED_BACK: Status.FAILED,
        Event.ABORTED: Status.CANCELLED,
    },
    Status.FINISHED: {
        Event.CONFIRM_STARTED: Status.CONFIRMING,
        Event.REVERT_STARTED: Status.REVERTING,
    },
    Status.CONFIRMING: {
        Event.CONFIRMED: Status.CONFIRMED,
        Event.GIVEN_UP: Status.FINISHED,
    },
    Status.REVERTING: {
        Event.REVERTED: Status.REVERTED,
        Event.GIVEN_UP: Status.FINISHED,
    },
    Status.CONFIRMED: {},
    Status.REVERTED: {},
}

#: What a migration is recorded with: a live one, and a cold one or a resize.
BEGINNINGS = (Status.ACCEPTED, Status.PRE_MIGRATING)
TERMINAL = frozenset(status for status, row in TRANSITIONS.items() if not row)
IN_PROGRESS = frozenset(TRANSITIONS) - TERMINAL
#: Statuses in which no conductor has anything to do until a person, or the confirm window, says what.
RESTING = frozenset({Status.FINISHED})
#: Statuses before the checks have passed; nothing was touched.
UNCHECKED = frozenset({Status.ACCEPTED, Status.PRE_MIGRATING})
#: Of a cold migration or resize: what the destination will take is claimed there.
CLAIMING_DESTINATION = frozenset({Status.PRE_MIGRATING, Status.MIGRATING, Status.POST_MIGRATING})
#: Of a cold migration or resize: the guest counts at the destination, and what the source keeps for it is claimed there.
CLAIMING_SOURCE = frozenset({Status.FINISHED, Status.CONFIRMING, Status.REVERTING})
#: Statuses that occupy a slot at the source, at the destination and in the cluster.
HOLDING_SLOTS = frozenset({Status.PREPARING, Status.RUNNING, Status.POST_COPY})
#: What GET /servers/{id}/migrations shows: Nova's list, and post-copy, which Nova hides (a deliberate difference).
SHOWN_IN_PROGRESS = frozenset({Status.QUEUED, Status.PREPARING, Status.RUNNING, Status.POST_COPY})


def advance(status: Status, event: Event) -> Status:
    """Give the status that follows.

    :raises IllegalTransition: when the table has no such row; nothing has changed.
    """
    following = TRANSITIONS[status].get(event)
    if following is None:
        raise errors.IllegalTransition(status=status.value, event=event.value)
    return following


def diagram() -> str:
    """Draw the table as a Mermaid state diagram, for the docs."""
    name = {status: status.name.lower() for status in Status}
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {name[status]}" for status in BEGINNINGS]
    lines += [f'    state "{status.value}" as {name[status]}' for status in Status if status.value != name[status]]
    for status, row in TRANSITIONS.items():
        lines += [f"    {name[status]} --> {name[following]}: {event.value}" for event, following in row.items()]
    lines += [f"    {name[status]} --> [*]" for status in TRANSITIONS if status in TERMINAL]
    return "\n".join(lines) + "\n"
