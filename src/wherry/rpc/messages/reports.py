# SPDX-License-Identifier: Apache-2.0
"""What an agent reports to the conductors."""

from __future__ import annotations

from typing import ClassVar

from wherry.model.deadline import Deadline
from wherry.model.guest import Guest, Observation
from wherry.model.host import HostDescription
from wherry.model.progress import Progress
from wherry.model.truth import LastIntent
from wherry.rpc.messages.base import Done, Message, Request


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
    #: Incarnations that had the directory before that one, each as dead: the one that is registered may be any of them.
    replaces_earlier: tuple[str, ...] = ()
    #: Availability zone of the host.
    zone: str = "nova"


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
    #: Request that asked for it; empty where none did.
    request_id: str = ""
    #: Seconds since the transfer started, by the source's clock; None from an agent that does not tell.
    elapsed_seconds: float | None = None


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
