# SPDX-License-Identifier: Apache-2.0
"""What a conductor commands an agent, and the answers."""

from __future__ import annotations

from typing import ClassVar

from wherry.model.guest import Guest, GuestState, Observation
from wherry.model.host import HostDescription
from wherry.model.instance_actions import SUCCEEDED, EventOutcome
from wherry.model.migration import DestinationFacts, LiveMigrationRequest, Plan, StoragePlan, StorageProbe
from wherry.model.operation import IntentKind
from wherry.model.power import PowerAction
from wherry.model.truth import LastIntent
from wherry.rpc.messages.base import AboutOperation, Done, Message, Request


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
    #: Whether no migration follows: what the check leaves may go when nobody can be asking any more.
    is_question: bool = False
    #: Of the operation, as the check was asked for: a release of it, which is of a later one, ends every check before it. 0 = not known.
    generation: int = 0


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
    """Remove what the destination's check left behind, and let none in that was asked for before."""

    reply_type: ClassVar[type[Message]] = Done
    probes: tuple[StorageProbe, ...]
    #: Of the operation, as this was asked for; 0 = not known, and late checks are let in.
    generation: int = 0


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
