# SPDX-License-Identifier: Apache-2.0
"""Queries and bodies of server groups."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types
from wherry.model import server_group

_HARD = [server_group.Policy.ANTI_AFFINITY.value, server_group.Policy.AFFINITY.value]
_ALL = [policy.value for policy in server_group.Policy]


def _policies(known: list[str]) -> dict[str, Any]:
    return {"name": types.NAME, "policies": {"type": "array", "items": {"type": "string", "enum": known}, "minItems": 1, "maxItems": 1}}


def _create(group: dict[str, Any], *required: str) -> dict[str, Any]:
    return types.payload({"server_group": types.payload(group, required=required)}, required=("server_group",))


_V64: dict[str, Any] = {
    "name": types.NAME,
    "policy": {"type": "string", "enum": _ALL},
    "rules": types.payload(
        {"max_server_per_host": {"type": ["integer", "string"], "pattern": "^[0-9]{1,9}$", "minimum": 1, "maximum": 999_999_999}}
    ),
}

CREATE = validation.Schema(
    ("2.1", _create(_policies(_HARD), "name", "policies")),
    ("2.15", _create(_policies(_ALL), "name", "policies")),
    ("2.64", _create(_V64, "name", "policy")),
)
_MEMBER = types.payload({"server": types.UUID}, required=("server",))
ADD_SERVER = validation.Schema(("2.1000", types.action("add_server", _MEMBER)))
REMOVE_SERVER = validation.Schema(("2.1000", types.action("remove_server", _MEMBER)))

_LIST = {"all_projects": types.several(types.TEXT), "limit": types.several(types.COUNT), "offset": types.several(types.COUNT)}
LIST = validation.Schema(("2.1", types.query(_LIST, is_strict=False)), ("2.75", types.query(_LIST, is_strict=True)))
SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)), ("2.75", types.query({}, is_strict=True)))
