# SPDX-License-Identifier: Apache-2.0
"""What an api, or another conductor, asks of the conductors."""

from __future__ import annotations

from typing import ClassVar

from wherry.model.feasibility import Feasibility
from wherry.model.migration import LiveMigrationRequest
from wherry.rpc.messages.base import AboutOperation, Message, Request


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


class OperationChanged(AboutOperation):
    """Cast, from a conductor to each of them: a report or an intent was stored of an operation that another drives. Only a nudge."""

    has_intent: bool = False


class SlotsFreed(Message):
    """Cast, from a conductor to each of them: a migration has given its slots back. Only a nudge, the poll finds it too."""

    #: Who says so, and knows it.
    conductor_id: str
    #: Those that may start now. Empty: the sender, of an older release, has not looked.
    operation_ids: tuple[str, ...] = ()
    #: Above 0: the slots are not free yet, and may be within this time; checks that will be too old by then should run again now.
    within_seconds: float = 0.0


class OperationsLeft(Message):
    """Cast, from a conductor that ends in order: what it drove is anybody's now. Only a nudge, the sweep finds it too."""
