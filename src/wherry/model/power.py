# SPDX-License-Identifier: Apache-2.0
"""Power actions: what may be asked of a server where it is, and what each is called on the way.

Moves no guest and knows no hypervisor.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Literal

from wherry.model.instance_actions import ActionName, EventName
from wherry.model.server import TaskState, VmState


class PowerAction(enum.StrEnum):
    """What is asked, in Nova's words."""

    PAUSE = "pause"
    UNPAUSE = "unpause"
    START = "start"
    STOP = "stop"
    #: By asking the guest first.
    REBOOT = "reboot"
    REBOOT_HARD = "reboot_hard"
    SUSPEND = "suspend"
    RESUME = "resume"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PowerRequest:
    """The whole request, stored with the operation."""

    action: PowerAction
    #: Tells the kinds of request apart where they are stored.
    kind: Literal["power"] = "power"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a power action is called, and when it may be asked for."""

    #: States of the server in which it may be asked for, as in Nova.
    allowed: frozenset[VmState]
    #: What the server shows meanwhile.
    task_state: TaskState
    action: ActionName
    event: EventName


TERMS: dict[PowerAction, Terms] = {
    PowerAction.PAUSE: Terms(
        allowed=frozenset({VmState.ACTIVE}), task_state=TaskState.PAUSING, action=ActionName.PAUSE, event=EventName.PAUSE
    ),
    PowerAction.UNPAUSE: Terms(
        allowed=frozenset({VmState.PAUSED}), task_state=TaskState.UNPAUSING, action=ActionName.UNPAUSE, event=EventName.UNPAUSE
    ),
    PowerAction.START: Terms(
        allowed=frozenset({VmState.STOPPED}), task_state=TaskState.POWERING_ON, action=ActionName.START, event=EventName.START
    ),
    PowerAction.STOP: Terms(
        allowed=frozenset({VmState.ACTIVE, VmState.ERROR}),
        task_state=TaskState.POWERING_OFF,
        action=ActionName.STOP,
        event=EventName.STOP,
    ),
    PowerAction.REBOOT: Terms(
        allowed=frozenset({VmState.ACTIVE}), task_state=TaskState.REBOOTING, action=ActionName.REBOOT, event=EventName.REBOOT
    ),
    PowerAction.REBOOT_HARD: Terms(
        allowed=frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.ERROR}),
        task_state=TaskState.REBOOTING_HARD,
        action=ActionName.REBOOT,
        event=EventName.REBOOT,
    ),
    PowerAction.SUSPEND: Terms(
        allowed=frozenset({VmState.ACTIVE}), task_state=TaskState.SUSPENDING, action=ActionName.SUSPEND, event=EventName.SUSPEND
    ),
    PowerAction.RESUME: Terms(
        allowed=frozenset({VmState.SUSPENDED}), task_state=TaskState.RESUMING, action=ActionName.RESUME, event=EventName.RESUME
    ),
}
#: Those that first ask the guest to shut itself down.
ORDERLY = frozenset({PowerAction.STOP, PowerAction.REBOOT})
