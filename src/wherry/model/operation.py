# SPDX-License-Identifier: Apache-2.0
"""Operations: what a conductor owns and drives, step by step, whatever dies on the way.

A live migration is one kind, a cold one another; each has a migration of the same id beside it, and the confirm or revert of a cold
migration goes on with that one, as does the deletion of a server that waits for either. `Transition` is the only way to change either.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum

from wherry.model.build import BuildRequest, DeleteRequest
from wherry.model.deadline import Deadline
from wherry.model.instance_actions import SUCCEEDED, ActionName, EventFinish, EventOutcome, EventStart
from wherry.model.migration import ColdMigrationRequest, ConfirmRequest, DrivenPlan, LiveMigrationRequest, Reason, RevertRequest
from wherry.model.power import TERMS, PowerRequest
from wherry.model.progress import Progress
from wherry.model.server import ServerChange, TaskState
from wherry.model.states import Event, Status


class OperationKind(enum.StrEnum):
    """What an operation does."""

    LIVE_MIGRATION = "live_migration"
    #: Pause, unpause, start, stop.
    POWER = "power"
    #: A cold migration, or a resize.
    COLD_MIGRATION = "cold_migration"
    CONFIRM_RESIZE = "confirm_resize"
    REVERT_RESIZE = "revert_resize"
    #: Make a server.
    BUILD = "build"
    DELETE = "delete"


#: Kinds whose operation begins a migration, of the operation's own id.
MIGRATING = frozenset({OperationKind.LIVE_MIGRATION, OperationKind.COLD_MIGRATION})
#: Kinds whose operation may go on with the migration of an earlier one.
GOING_ON = frozenset({OperationKind.CONFIRM_RESIZE, OperationKind.REVERT_RESIZE, OperationKind.DELETE})
#: What was asked for, by kind.
Request = LiveMigrationRequest | PowerRequest | ColdMigrationRequest | ConfirmRequest | RevertRequest | BuildRequest | DeleteRequest


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewerRequest:
    """What only a newer release knows: read where operations are shown, never acted on."""

    kind: str


def newer_request(stored: object) -> NewerRequest | None:
    """Give what stands for a stored request that cannot be read; None where its kind is known, so that it is broken and not newer."""
    kind = stored.get("kind") if isinstance(stored, dict) else None
    return NewerRequest(kind=kind) if isinstance(kind, str) and kind not in list(OperationKind) else None


class StepName(enum.StrEnum):
    """Where an operation stands: the step to run, or to run again after a take-over."""

    SELECT_DESTINATION = "select_destination"
    CHECK_DESTINATION = "check_destination"
    CHECK_SOURCE = "check_source"
    ADMIT = "admit"
    PREPARE = "prepare"
    TRANSFER = "transfer"
    #: Reads both hypervisors and gives the verdict.
    SETTLE = "settle"
    FINISH = "finish"
    ROLL_BACK = "roll_back"
    #: Opens the first event, and says how to go about it.
    BEGIN = "begin"
    #: Asks the guest to shut itself down, and waits for it.
    SHUT_DOWN = "shut_down"
    #: Has the hypervisor do it.
    CHANGE_POWER = "change_power"
    #: Sends the disks of a guest that is off.
    MOVE = "move"
    #: Has the source give up what it kept.
    CONFIRM = "confirm"
    #: Asks the source whether it could take its guest up again.
    CHECK_RETURN = "check_return"
    #: Stops the guest at the destination, which goes back to its source.
    STOP_DESTINATION = "stop_destination"
    #: Has the source take its guest up again.
    RESTORE = "restore"
    #: Removes what was made for the guest at the destination.
    DISCARD = "discard"
    #: Chooses the host of a server that is to be made.
    CHOOSE_HOST = "choose_host"
    #: Has the host build the guest.
    BUILD = "build"
    #: Has a host remove what it built of a guest that does not become a server there.
    TAKE_BACK = "take_back"
    #: Has the host remove the guest, and what was made for it.
    DESTROY = "destroy"
    #: Terminal: nothing is left to run.
    DONE = "done"


#: Steps that touch nothing: a refusal ends the operation there, or sends it to another destination.
CHECKING = frozenset({StepName.SELECT_DESTINATION, StepName.CHECK_DESTINATION, StepName.CHECK_SOURCE})


class IntentKind(enum.StrEnum):
    """What a person, or Wherry on a person's behalf, wants of an operation under way."""

    ABORT = "abort"
    FORCE_COMPLETE = "force_complete"
    #: Try at once to connect a broken post-copy again.
    RESUME_POST_COPY = "resume_post_copy"
    #: Try no more to mend a broken post-copy: end in error, both sides kept.
    GIVE_UP = "give_up"
    #: Delete the server once this operation has ended, however it ended.
    DELETE = "delete"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """Stored with its 202 and redelivered until acknowledged. Abort beats force-complete until post-copy starts."""

    id: int
    operation_id: str
    kind: IntentKind
    #: The request that asked for it; its action's event tells how it ended.
    request_id: str
    requested_at: datetime.datetime
    #: When the agent took it up, or the outcome made it moot.
    acknowledged_at: datetime.datetime | None = None


class ReportKind(enum.StrEnum):
    """Facts that an agent reports about a transfer, acknowledged once they are stored."""

    TRANSFER_STARTED = "transfer_started"
    POST_COPY_STARTED = "post_copy_started"
    #: A deadline or an intent was applied: the numbers are in the detail.
    ACTION_TAKEN = "action_taken"
    #: The hypervisor has no job any more; what the source shows is attached.
    TRANSFER_ENDED = "transfer_ended"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One stored fact. (operation, epoch, sequence) is unique, so that a doubled message is one fact."""

    operation_id: str
    epoch: int
    sequence: int
    kind: ReportKind
    host: str
    #: JSON of the message's body.
    body: dict[str, object]
    received_at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """The row that a conductor drives. Written by its owner, under its epoch and generation, only."""

    id: str
    kind: OperationKind
    instance_uuid: str
    request_id: str
    user_id: str
    project_id: str
    request: Request | NewerRequest
    step: StepName
    plan: DrivenPlan
    #: Id of the conductor that drives it; None = nobody yet.
    owner: str | None = None
    #: Raised at each take-over; carried by each command, so that a delayed one of an earlier owner is refused.
    epoch: int = 0
    #: Raised at each write; guards against a second writer.
    generation: int = 0
    created_at: datetime.datetime
    updated_at: datetime.datetime | None = None
    #: Set with the terminal status.
    finished_at: datetime.datetime | None = None

    @property
    def migration_uuid(self) -> str | None:
        """The migration that it moves on; None where it is about none."""
        return migration_of(self.kind, self.id, self.request)


def migration_of(kind: OperationKind, operation_id: str, request: Request | NewerRequest) -> str | None:
    """Give the migration that such an operation moves on; None where it is about none."""
    if isinstance(request, ConfirmRequest | RevertRequest | DeleteRequest):
        return request.migration_id
    return operation_id if kind in MIGRATING else None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """What is recorded with a request."""

    step: StepName
    #: None: the server shows nothing of it.
    task_state: TaskState | None
    action: ActionName
    #: With which the migration is recorded that it begins; None where it begins none.
    status: Status | None = None


def beginning_of(request: Request) -> Beginning:
    """Give how an operation begins that does what was asked."""
    if isinstance(request, PowerRequest):
        terms = TERMS[request.action]
        return Beginning(step=StepName.BEGIN, task_state=terms.task_state, action=terms.action)
    if isinstance(request, BuildRequest):
        return Beginning(step=StepName.BEGIN, task_state=TaskState.SCHEDULING, action=ActionName.CREATE)
    if isinstance(request, DeleteRequest):
        return Beginning(step=StepName.BEGIN, task_state=TaskState.DELETING, action=ActionName.DELETE)
    if isinstance(request, ConfirmRequest):
        return Beginning(step=StepName.BEGIN, task_state=None, action=ActionName.CONFIRM_RESIZE)
    if isinstance(request, RevertRequest):
        return Beginning(step=StepName.BEGIN, task_state=TaskState.RESIZE_REVERTING, action=ActionName.REVERT_RESIZE)
    if isinstance(request, ColdMigrationRequest):
        action = ActionName.RESIZE if request.is_resize else ActionName.MIGRATE
        return Beginning(step=StepName.SELECT_DESTINATION, task_state=TaskState.RESIZE_PREP, action=action, status=Status.PRE_MIGRATING)
    return Beginning(
        step=StepName.SELECT_DESTINATION,
        task_state=TaskState.MIGRATING,
        action=ActionName.LIVE_MIGRATION,
        status=Status.ACCEPTED,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One advance of an operation: everything in it is stored in one transaction, or nothing is.

    `None` leaves a field as it is.
    """

    #: Step to run next; DONE ends the operation.
    step: StepName | None = None
    #: Moves the migration's status through the table.
    event: Event | None = None
    plan: DrivenPlan | None = None
    #: Destination's names, written on the migration.
    dest_compute: str | None = None
    dest_node: str | None = None
    #: Its address; empty where it told none.
    dest_host: str | None = None
    source_node: str | None = None
    reason: Reason | None = None
    clear_reason: bool = False
    #: When the transfer began, with the event that says that it did; None: now.
    started_at: datetime.datetime | None = None
    deadline: Deadline | None = None
    #: Time of the deadline that comes with it; None: there is none.
    deadline_at: datetime.datetime | None = None
    #: Last counters of its transfer.
    progress: Progress | None = None
    server: ServerChange | None = None
    started: tuple[EventStart, ...] = ()
    finished: tuple[EventFinish, ...] = ()
    #: Outcome for any event row that is still open when this transition is terminal.
    closing: EventOutcome = SUCCEEDED
