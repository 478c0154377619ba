# SPDX-License-Identifier: Apache-2.0
"""What a guest has used: the question of an api, and a conductor's to the guest's host."""

from __future__ import annotations

from typing import ClassVar

from wherry.model.guest import Usage
from wherry.rpc.messages.base import Message, Request
from wherry.rpc.messages.commands import Command


class GuestMeasured(Message):
    """What it has used since it started."""

    usage: Usage


class MeasureGuest(Request[GuestMeasured], Command):
    """Give what the guest has used. Changes nothing. GuestNotFound when it is not here."""

    reply_type: ClassVar[type[Message]] = GuestMeasured


class MeasureServer(Request[GuestMeasured]):
    """Call of an api: have a server's host give what its guest has used."""

    reply_type: ClassVar[type[Message]] = GuestMeasured
    instance_uuid: str
