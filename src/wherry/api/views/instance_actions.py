# SPDX-License-Identifier: Apache-2.0
"""Instance actions and their events, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts
from wherry.model import instance_actions as model
from wherry.policies import instance_actions as policies


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ActionPage:
    """What the list handler gives."""

    actions: Sequence[model.InstanceAction]
    limit: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShownAction:
    """What the show handler gives."""

    action: model.InstanceAction
    #: The server's.
    project_id: str


def index(page: ActionPage, call: api_call.Call) -> dict[str, Any]:
    """Give the list, which has no events."""
    content: dict[str, Any] = {"instanceActions": [_row(action, call) for action in page.actions]}
    if call.version >= (2, 58) and page.actions:
        following = parts.next_link(call, page.actions, page.limit, page.actions[-1].request_id)
        if following:
            content["links"] = following
    return content


def show(shown: ShownAction, call: api_call.Call) -> dict[str, Any]:
    """Give one action; before 2.51 only administrators see its events at all."""
    row = _row(shown.action, call)
    shows_tracebacks = call.allows(policies.EVENTS, shown.project_id)
    if shows_tracebacks or call.version >= (2, 51):
        shows_details = call.version >= (2, 84) and call.allows(policies.EVENTS_DETAILS, shown.project_id)
        row["events"] = [
            _event(event, call, shown.project_id, shows_tracebacks=shows_tracebacks, shows_details=shows_details)
            for event in shown.action.events
        ]
    return {"instanceAction": row}


def _row(action: model.InstanceAction, call: api_call.Call) -> dict[str, Any]:
    row: dict[str, Any] = {
        "action": action.action,
        "instance_uuid": action.instance_uuid,
        "request_id": action.request_id,
        "user_id": action.user_id,
        "project_id": action.project_id,
        "start_time": parts.stamp(action.started_at),
        "message": action.message,
    }
    if call.version >= (2, 58):
        row["updated_at"] = parts.stamp(action.updated_at or action.started_at)
    return row


def _event(
    event: model.InstanceEvent, call: api_call.Call, project_id: str, *, shows_tracebacks: bool, shows_details: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "event": event.name,
        "start_time": parts.stamp(event.started_at),
        "finish_time": parts.stamp_or_none(event.finished_at),
        "result": event.result.value if event.result else None,
    }
    if shows_tracebacks:
        row["traceback"] = event.traceback
    if call.version >= (2, 62):
        row["hostId"] = parts.host_id(project_id, event.host)
        if shows_tracebacks:
            row["host"] = event.host
    if shows_details:
        row["details"] = event.details
    return row
