# SPDX-License-Identifier: Apache-2.0
"""Making guests and removing them: what conductors command agents, what an api asks of a guest's console."""

from __future__ import annotations

from typing import ClassVar

from wherry.model.build import GuestOrder
from wherry.model.guest import Guest
from wherry.rpc.messages.base import Message, Request
from wherry.rpc.messages.commands import Command, StageAnswer, StageDone


class GuestBuilt(StageAnswer):
    """The guest is there, as its hypervisor describes it."""

    guest: Guest


class BuildGuest(Request[GuestBuilt], Command):
    """Make the guest and start it. It may take long, for the image must come first: asked again, the answer is that of the first."""

    reply_type: ClassVar[type[Message]] = GuestBuilt
    order: GuestOrder


class DestroyGuest(Request[StageDone], Command):
    """Remove the guest, whatever it does, and delete what was made for it: never a disk that was not. One that is gone is fine."""

    reply_type: ClassVar[type[Message]] = StageDone


class ConsoleRead(Message):
    """The end of what the guest has written to its serial console."""

    output: str


class ReadConsole(Request[ConsoleRead], Command):
    """Give the end of the guest's console."""

    reply_type: ClassVar[type[Message]] = ConsoleRead
    #: Lines at most; None = all that is kept.
    lines: int | None = None


class ShowConsole(Request[ConsoleRead]):
    """Call of an api: give the end of a server's console."""

    reply_type: ClassVar[type[Message]] = ConsoleRead
    instance_uuid: str
    lines: int | None = None
