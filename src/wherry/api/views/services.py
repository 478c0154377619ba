# SPDX-License-Identifier: Apache-2.0
"""Services, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts
from wherry.model import host as model

#: What Nova calls the process of a host, and clients look for.
BINARY = "nova-compute"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShownService:
    """A host as its service shows it."""

    host: model.Host
    is_up: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UpdatedService:
    """A host after one of the older updates, and which one it was."""

    host: model.Host
    action: str


def index(shown: Sequence[ShownService], call: api_call.Call) -> dict[str, Any]:
    """Give the list."""
    return {"services": [_row(one, call) for one in shown]}


def updated(shown: ShownService, call: api_call.Call) -> dict[str, Any]:
    """Give the answer of the update by uuid: the whole service."""
    return {"service": _row(shown, call)}


def updated_by_name(shown: UpdatedService, _call: api_call.Call) -> dict[str, Any]:
    """Give the answer of the older updates: what was named, and what was changed."""
    host = shown.host
    row: dict[str, Any] = {"host": host.name, "binary": BINARY}
    if shown.action == "force-down":
        row["forced_down"] = host.is_forced_down
    else:
        row["status"] = "disabled" if host.is_disabled else "enabled"
    if shown.action == "disable-log-reason":
        row["disabled_reason"] = host.disabled_reason
    return {"service": row}


def _row(shown: ShownService, call: api_call.Call) -> dict[str, Any]:
    host = shown.host
    row: dict[str, Any] = {
        "id": host.uuid if call.version >= (2, 53) else host.id,
        "binary": BINARY,
        "host": host.name,
        "zone": host.zone,
        "status": "disabled" if host.is_disabled else "enabled",
        "state": "up" if shown.is_up else "down",
        # Nova's stamp of its own last report.
        "updated_at": parts.stamp(host.last_seen_at),
        "disabled_reason": host.disabled_reason,
    }
    if call.version >= (2, 11):
        row["forced_down"] = host.is_forced_down
    return row
