# SPDX-License-Identifier: Apache-2.0
"""What a conductor commands the two agents of a cold migration or resize, and the answers."""

from __future__ import annotations

from typing import ClassVar

from wherry.model.host import HostDescription
from wherry.model.migration import Plan, StoragePlan
from wherry.model.progress import Progress
from wherry.rpc.messages.base import Message, Request
from wherry.rpc.messages.commands import Command, DestinationChecked, FinishedAtDestination, StageAnswer, StageDone


class MoveCommand(Command):
    """A command with the plan of a cold migration or resize. What is known so far is set in it."""

    plan: Plan


class PrepResize(Request[DestinationChecked], MoveCommand):
    """Check whether this host could take the guest, and leave storage probes. CheckFailed says no."""

    reply_type: ClassVar[type[Message]] = DestinationChecked
    source: HostDescription


class DepartureChecked(StageAnswer):
    """The guest may leave."""

    storage: StoragePlan
    has_autostart: bool = False


class CheckDeparture(Request[DepartureChecked], MoveCommand):
    """Check whether the guest may be shut down here and leave, and which of its disks travel. Changes nothing. CheckFailed says no."""

    reply_type: ClassVar[type[Message]] = DepartureChecked


class PrepareArrival(Request[StageDone], MoveCommand):
    """Remove the probes, and make the files into which disks will be sent. Whatever is created is journalled first."""

    reply_type: ClassVar[type[Message]] = StageDone


class Moving(StageAnswer):
    """How far the move is."""

    is_done: bool
    progress: Progress | None = None
    #: The guest's definition as it is while the guest is off; empty until it is done.
    definition: str = ""


class MoveGuest(Request[Moving], MoveCommand):
    """Take the guest's power if it is on still, then send its disks; say how far that is. Asked again until it is done.

    A duplicate joins the move under way, and one that comes after it finds it done. Any error of its own ends the move.
    """

    reply_type: ClassVar[type[Message]] = Moving
    #: How long the answer may wait for the end of the move.
    wait_seconds: float = 0.0


class FinishResize(Request[FinishedAtDestination], MoveCommand):
    """Take the guest in, at its new size, and start it if it ran before."""

    reply_type: ClassVar[type[Message]] = FinishedAtDestination


class DiscardArrival(Request[StageDone], MoveCommand):
    """Remove the guest that this migration brought here, and what it made for it, nothing else: the source has it. Ends it here."""

    reply_type: ClassVar[type[Message]] = StageDone


class RestoreSource(Request[FinishedAtDestination], MoveCommand):
    """Undo at the source: have the guest as it was, and start it if it ran before. Ends it here."""

    reply_type: ClassVar[type[Message]] = FinishedAtDestination


class ConfirmSource(Request[StageDone], MoveCommand):
    """Give up what was kept here of a guest that was read at its destination. Ends it here."""

    reply_type: ClassVar[type[Message]] = StageDone
    #: Whether the server is deleted: one that somebody has started here goes too, where it else would be refused.
    is_deletion: bool = False


class ConfirmDestination(Request[StageDone], MoveCommand):
    """The guest is this host's for good, with the files that were made for it. Ends it here."""

    reply_type: ClassVar[type[Message]] = StageDone


class CheckReturn(Request[FinishedAtDestination], MoveCommand):
    """Check that the guest could be taken up here again: it is defined, and off. Changes nothing."""

    reply_type: ClassVar[type[Message]] = FinishedAtDestination


class RevertResize(Request[StageDone], MoveCommand):
    """Take the power of a guest that is to go back; definition and disks stay until its source has taken it up."""

    reply_type: ClassVar[type[Message]] = StageDone


class FinishRevertResize(Request[FinishedAtDestination], MoveCommand):
    """Take the guest up at its source again, as it was, and start it if it ran before. Ends it here."""

    reply_type: ClassVar[type[Message]] = FinishedAtDestination


class StartAgain(Request[FinishedAtDestination], MoveCommand):
    """Start a guest at its destination again, since its source could not take it up."""

    reply_type: ClassVar[type[Message]] = FinishedAtDestination
