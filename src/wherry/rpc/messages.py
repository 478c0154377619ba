# SPDX-License-Identifier: Apache-2.0
"""Every message on the bus, typed. Unknown fields are ignored and no required field is ever added, so that releases mix.

Holds shapes only: what a message does is its endpoint's business. Every message may be lost or doubled.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import pydantic

from wherry.model.deadline import Deadline
from wherry.model.feasibility import Feasibility
from wherry.model.guest import Guest, GuestState, Observation
from wherry.model.host import HostDescription
from wherry.model.instance_actions import SUCCEEDED, EventOutcome
from wherry.model.migration import DestinationFacts, LiveMigrationRequest, Plan, StoragePlan, StorageProbe
from wherry.model.operation import IntentKind
from wherry.model.power import PowerAction
from wherry.model.progress import Progress
from wherry.model.truth import LastIntent


class Message(pydantic.BaseModel):
    """Root of all messages. The class name is its name on the wire."""

    # Built at first use: most processes use a few of them, and building all costs a tenth of a second at each start.
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore", defer_build=True)


R = TypeVar("R", bound=Message)


class Request(Message, Generic[R]):
    """A message that is answered. `reply_type` is what the answer must be."""

    reply_type: ClassVar[type[Message]]


class Done(Message):
    """The answer that says only that it was done."""


# --------------------------------------------------------------- api -> conductor


class AboutOperation(Message):
    """Field of every message about one operation."""

    operation_id: str


class LiveMigrateServer(AboutOperation):
    """Cast: a live migration was recorded; take it on. Only a nudge, the row holds the request."""


class ChecksAnswer(Message):
    """What became of the checks, for a client that waits."""

    #: None when they passed; otherwise the error as slug and fields.
    error: dict[str, object] | None = None


class MigrateServer(Request[ChecksAnswer], AboutOperation):
    """Call: as LiveMigrateServer, answered after the checks."""

    reply_type: ClassVar[type[Message]] = ChecksAnswer


class LiveMigrationChecked(Message):
    """What would become of it."""

    feasibility: Feasibility


class CheckLiveMigration(Request[LiveMigrationChecked]):
    """Call: say what would become of a live migration, without moving or recording anything."""

    reply_type: ClassVar[type[Message]] = LiveMigrationChecked
    instance_uuid: str
    request: LiveMigrationRequest


class OperationRecorded(AboutOperation):
    """Cast: an operation for whose beginning nobody waits was recorded; take it on. Only a nudge, the row holds the request."""


class IntentRecorded(AboutOperation):
    """Cast: an abort or a force-complete was recorded; deliver it. Only a nudge."""


# ------------------------------------------------------------- conductor -> agent


class Command(AboutOperation):
    """Fields of every command about a migration. Refused when an agent knows a higher epoch or the migration's end."""

    epoch: int
    instance_uuid: str


class DescribedGuest(Message):
    """The guest as its hypervisor describes it now."""

    guest: Guest


class DescribeGuest(Request[DescribedGuest], Command):
    """Describe the guest, freshly, for the checks. Changes nothing. GuestNotFound when it is not here."""

    reply_type: ClassVar[type[Message]] = DescribedGuest


class StageAnswer(Message):
    """Root of the answers to a stage that is an event: how it went, for the event row.

    A check that says no answers with the error in place of this message; its outcome is made from the error.
    """

    outcome: EventOutcome = SUCCEEDED


class DestinationChecked(StageAnswer):
    """The destination could take the guest."""

    facts: DestinationFacts


class CheckDestination(Request[DestinationChecked], Command):
    """Check whether this host could take the guest. Leaves only storage probes behind. CheckFailed says no."""

    reply_type: ClassVar[type[Message]] = DestinationChecked
    guest: Guest
    request: LiveMigrationRequest
    source: HostDescription


class SourceChecked(StageAnswer):
    """The guest may leave."""

    storage: StoragePlan


class CheckSource(Request[SourceChecked], Command):
    """Check whether the guest can leave, and classify its disks. Changes nothing. CheckFailed says no."""

    reply_type: ClassVar[type[Message]] = SourceChecked
    guest: Guest
    request: LiveMigrationRequest
    facts: DestinationFacts


class ReleaseCheck(Request[Done], Command):
    """Remove what the destination's check left behind."""

    reply_type: ClassVar[type[Message]] = Done
    probes: tuple[StorageProbe, ...]


class StageDone(StageAnswer):
    """The answer of a stage that gives nothing back."""


class PlannedCommand(Command):
    """A command with the plan. `plan.guest`, `plan.facts` and `plan.storage` are set."""

    plan: Plan
    request: LiveMigrationRequest


class PrepareDestination(Request[StageDone], PlannedCommand):
    """Make ready for the transfer: missing disks, pools. Whatever is created is journalled first."""

    reply_type: ClassVar[type[Message]] = StageDone


class StartTransfer(Request[Done], PlannedCommand):
    """Start sending, and watch. Answered when the job is under way or known to have ended; the rest comes as reports.

    A duplicate joins the transfer in progress. TransferRefused: nothing was started, the guest runs on here.
    """

    reply_type: ClassVar[type[Message]] = Done


class FinishedAtDestination(StageAnswer):
    """The guest is the destination's own now."""

    guest: Guest


class FinishDestination(Request[FinishedAtDestination], PlannedCommand):
    """The guest arrived: make it this host's own."""

    reply_type: ClassVar[type[Message]] = FinishedAtDestination


class FinishSource(Request[Done], PlannedCommand):
    """The guest arrived elsewhere, which was read there: remove the stale definition, keep its disks, end the watch."""

    reply_type: ClassVar[type[Message]] = Done


class RollBackDestination(Request[StageDone], PlannedCommand):
    """Undo what this migration made here; nothing else, and never a running guest."""

    reply_type: ClassVar[type[Message]] = StageDone


class RollBackSource(Request[Done], PlannedCommand):
    """Let the guest run on here: resume it if it was we who stopped it, and end the watch."""

    reply_type: ClassVar[type[Message]] = Done


class Observed(Message):
    """One side of the truth table."""

    observation: Observation
    #: What this agent wrote down as its own last doing; only the source's means anything.
    intent: LastIntent = LastIntent.NONE
    #: Why, where `intent` is set: "deadline", "requested", with the numbers.
    intent_detail: str = ""


class ObserveGuest(Request[Observed], Command):
    """Say what the hypervisor shows now, for the truth table."""

    reply_type: ClassVar[type[Message]] = Observed


class DeliverIntent(Request[Done], Command):
    """Abort or force-complete the transfer under way. NoActiveTransfer when there is none (any more)."""

    reply_type: ClassVar[type[Message]] = Done
    kind: IntentKind
    request_id: str


class ShutDownGuest(Request[Observed], Command):
    """Ask the guest to shut itself down, and say how it is now. It may take its time, or not heed it."""

    reply_type: ClassVar[type[Message]] = Observed


class PowerChanged(StageAnswer):
    """It was done."""

    #: What the hypervisor shows afterwards.
    state: GuestState


class ChangePower(Request[PowerChanged], Command):
    """Pause the guest, let it run, start it or power it off. One that is so already is fine."""

    reply_type: ClassVar[type[Message]] = PowerChanged
    action: PowerAction


# ------------------------------------------------------------- agent -> conductor


class HostAccepted(Message):
    """The registration's answer: the names of the servers that this host is thought to run."""

    host_id: int


class RegisterHost(Request[HostAccepted]):
    """An agent has started. HostRefused when the name or the hypervisor belongs to another that still lives."""

    reply_type: ClassVar[type[Message]] = HostAccepted
    name: str
    incarnation: str
    description: HostDescription
    #: Incarnation named in the journal directory that this agent has locked: that one is dead for certain. Empty for none.
    replaces: str = ""


class HeartbeatNoted(Message):
    """The answer to a sign of life."""

    #: False asks the agent to register again.
    is_known: bool = True


class Heartbeat(Request[HeartbeatNoted]):
    """The agent lives. A missed one proves nothing about guests."""

    reply_type: ClassVar[type[Message]] = HeartbeatNoted
    name: str
    incarnation: str


class SignOff(Message):
    """Cast: the agent stops on purpose; transfers under way go on. Only spares others the wait for its silence."""

    name: str
    incarnation: str


class ReportInventory(Request[Done]):
    """The guests that the host has. `is_complete`: one that is not listed is not there."""

    reply_type: ClassVar[type[Message]] = Done
    name: str
    incarnation: str
    #: Raised with each inventory of this incarnation; an older one is dropped.
    sequence: int
    is_complete: bool
    description: HostDescription | None = None
    #: Without definition and CPU text, and without guests that are only on their way in.
    guests: tuple[Guest, ...]
    #: Uuids of guests that were described in earlier messages of a list too long for one; they are there too.
    described_before: tuple[str, ...] = ()
    #: Uuids that the hypervisor was asked for and does not have; how an incomplete inventory tells that a guest went away.
    absent: tuple[str, ...] = ()


class TransferFact(Message):
    """Fields of every stored fact about a transfer."""

    operation_id: str
    epoch: int
    sequence: int
    host: str


class TransferStarted(Request[Done], TransferFact):
    """The copy is under way, with this budget."""

    reply_type: ClassVar[type[Message]] = Done
    deadline: Deadline
    #: Seconds since the transfer started, by the source's clock.
    elapsed_seconds: float = 0.0


class PostCopyStarted(Request[Done], TransferFact):
    """The guest runs at the destination now; nothing aborts any more."""

    reply_type: ClassVar[type[Message]] = Done


class ActionTaken(Request[Done], TransferFact):
    """The deadline or an intent was applied, with the numbers it used."""

    reply_type: ClassVar[type[Message]] = Done
    intent: LastIntent
    detail: str
    #: The new budget, where the configuration changed it.
    deadline: Deadline | None = None
    #: False: it was due, and the driver or the hypervisor could not do it.
    is_done: bool = True


class TransferEnded(Request[Done], TransferFact):
    """The hypervisor has no job for the guest any more. Not an outcome: the truth table gives that."""

    reply_type: ClassVar[type[Message]] = Done
    observation: Observation
    intent: LastIntent
    intent_detail: str = ""
    #: Text of the error with which the hypervisor's call ended; empty for none.
    call_error: str = ""
    #: Whether the hypervisor itself was lost when the job was last under way.
    was_hypervisor_lost: bool = False
    progress: Progress | None = None


class TransferProgressed(Message):
    """Cast: counters. A hint, coalesced and written in batches."""

    operation_id: str
    epoch: int
    host: str
    progress: Progress
