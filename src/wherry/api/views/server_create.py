# SPDX-License-Identifier: Apache-2.0
"""The answers to the making of a server and to a look at its console. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts
from wherry.model import server as model


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What the handler gives."""

    #: None where the reservation was asked for.
    server: model.Server | None
    reservation_id: str
    password: str


def created(made: Made, call: api_call.Call) -> dict[str, Any]:
    """Give the little that is known of a server when its making begins."""
    if made.server is None or made.server.birth is None:
        return {"reservation_id": made.reservation_id}
    return {
        "server": {
            "id": made.server.uuid,
            "links": parts.links(call, f"/servers/{made.server.uuid}"),
            "OS-DCF:diskConfig": made.server.birth.disk_config,
            "security_groups": [{"name": "default"}],
            "adminPass": made.password,
        }
    }


def console(output: str, _call: api_call.Call) -> dict[str, str]:
    """Give the end of a console."""
    return {"output": output}
