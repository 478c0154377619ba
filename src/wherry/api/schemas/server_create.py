# SPDX-License-Identifier: Apache-2.0
"""The body that makes a server, as each version has it. What is in it and means nothing here is let through and refused with a reason."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types
from wherry.api.schemas import server_metadata, server_tags

_TEXT_255: dict[str, Any] = {**types.TEXT, "minLength": 1, "maxLength": 255}
_HOST_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[a-zA-Z0-9-._]+$"}
_V1: dict[str, Any] = {
    "name": types.NAME,
    "imageRef": {"oneOf": [types.UUID, {"type": "string", "maxLength": 0}]},
    "flavorRef": {"type": ["string", "integer"], "minLength": 1, "maxLength": 255},
    "adminPass": {"type": "string"},
    "metadata": server_metadata.ITEMS,
    "networks": {"type": "array"},
    "OS-DCF:diskConfig": {"type": "string", "enum": ["AUTO", "MANUAL"]},
    "accessIPv4": types.IPV4,
    "accessIPv6": types.IPV6,
    "availability_zone": _TEXT_255,
    "block_device_mapping": {"type": "array"},
    "block_device_mapping_v2": {"type": "array"},
    "config_drive": types.BOOLEAN,
    "key_name": _TEXT_255,
    "min_count": types.number(1),
    "max_count": types.number(1),
    "return_reservation_id": types.BOOLEAN,
    "security_groups": {"type": "array", "items": types.payload({"name": _TEXT_255})},
    "user_data": {"type": ["string", "null"], "maxLength": 65535},
    "personality": {"type": "array"},
}
_V19 = {**_V1, "description": {**types.TEXT, "type": ["string", "null"], "maxLength": 255}}
_V37 = {**_V19, "networks": {"oneOf": [{"type": "array"}, {"type": "string", "enum": ["none", "auto"]}]}}
_V52 = {**_V37, "tags": server_tags.TAGS}
_V57 = {name: value for name, value in _V52.items() if name != "personality"}
_V63 = {**_V57, "trusted_image_certificates": {"type": ["array", "null"]}}
_V74 = {**_V63, "host": _HOST_NAME, "hypervisor_hostname": _HOST_NAME}
_V90 = {**_V74, "hostname": types.HOST_NAME}
_V94 = {**_V90, "hostname": types.FULL_HOST_NAME}

_HINTS: dict[str, Any] = {"type": "object"}


def _body(server: dict[str, Any], *required: str) -> dict[str, Any]:
    hints = {"OS-SCH-HNT:scheduler_hints": _HINTS, "os:scheduler_hints": _HINTS}
    return types.payload({"server": types.payload(server, required=("name", "flavorRef", *required)), **hints}, required=("server",))


CREATE = validation.Schema(
    ("2.1", _body(_V1)),
    ("2.19", _body(_V19)),
    ("2.37", _body(_V37, "networks")),
    ("2.52", _body(_V52, "networks")),
    ("2.57", _body(_V57, "networks")),
    ("2.63", _body(_V63, "networks")),
    ("2.74", _body(_V74, "networks")),
    ("2.90", _body(_V90, "networks")),
    ("2.94", _body(_V94, "networks")),
)
FORCE_DELETE = validation.Schema(("2.1", types.action("forceDelete", {})))
_LENGTH: dict[str, Any] = {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]{1,9}$", "minimum": -1, "maximum": 999_999_999}
CONSOLE_OUTPUT = validation.Schema(("2.1", types.action("os-getConsoleOutput", types.payload({"length": _LENGTH}))))
