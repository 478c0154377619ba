# SPDX-License-Identifier: Apache-2.0
"""The body that changes what a server is called and how it is described."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_V1: dict[str, Any] = {
    "name": types.NAME,
    "OS-DCF:diskConfig": {"type": "string", "enum": ["AUTO", "MANUAL"]},
    "accessIPv4": types.IPV4,
    "accessIPv6": types.IPV6,
}
_V19 = {**_V1, "description": {**types.TEXT, "type": ["string", "null"], "maxLength": 255}}
_V90 = {**_V19, "hostname": types.HOST_NAME}
_V94 = {**_V90, "hostname": types.FULL_HOST_NAME}
_V104 = {**_V94, "pinned_availability_zone": {**types.TEXT, "type": ["string", "null"], "minLength": 1, "maxLength": 255}}


def _body(server: dict[str, Any]) -> dict[str, Any]:
    return types.payload({"server": types.payload(server)}, required=("server",))


UPDATE = validation.Schema(
    ("2.1", _body(_V1)), ("2.19", _body(_V19)), ("2.90", _body(_V90)), ("2.94", _body(_V94)), ("2.104", _body(_V104))
)
