# SPDX-License-Identifier: Apache-2.0
"""Queries and bodies of flavors and their extra specs."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

#: Nova's names of the columns that lists may be sorted by.
SORT_KEYS = (
    *("created_at", "description", "disabled", "ephemeral_gb", "flavorid", "id", "is_public", "memory_mb", "name", "root_gb"),
    *("rxtx_factor", "swap", "updated_at", "vcpu_weight", "vcpus"),
)
_LIST: dict[str, Any] = {
    "limit": types.several(types.COUNT),
    "marker": types.several(types.TEXT),
    "is_public": types.several(types.TEXT),
    "minRam": types.several(types.TEXT),
    "minDisk": types.several(types.TEXT),
    "sort_key": types.several({"type": "string", "enum": list(SORT_KEYS)}),
    "sort_dir": types.several({"type": "string", "enum": ["asc", "desc"]}),
}

LIST = validation.Schema(("2.1", types.query(_LIST, is_strict=False)), ("2.75", types.query(_LIST, is_strict=True)))
SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)), ("2.75", types.query({}, is_strict=True)))

_ID: dict[str, Any] = {
    "type": ["string", "number", "null"],
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^(?! )[a-zA-Z0-9. _-]+(?<! )$",
}
_FLAVOR: dict[str, Any] = {
    "name": types.NAME,
    "id": _ID,
    "ram": types.number(1),
    "vcpus": types.number(1),
    "disk": types.number(0),
    "OS-FLV-EXT-DATA:ephemeral": types.number(0),
    "swap": types.number(0),
    "rxtx_factor": {
        "type": ["number", "string"],
        "pattern": r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,9})?$",
        "exclusiveMinimum": 0,
        "maximum": 3.40282e38,
    },
    "os-flavor-access:is_public": types.BOOLEAN,
}
_DESCRIPTION: dict[str, Any] = {**types.TEXT, "type": ["string", "null"], "minLength": 0, "maxLength": 65535}
_REQUIRED = ("name", "ram", "vcpus", "disk")


def _body(flavor: dict[str, Any], *required: str) -> dict[str, Any]:
    return types.payload({"flavor": types.payload(flavor, required=required)}, required=("flavor",))


CREATE = validation.Schema(
    ("2.1", _body(_FLAVOR, *_REQUIRED)),
    ("2.55", _body({**_FLAVOR, "description": _DESCRIPTION}, *_REQUIRED)),
)
UPDATE = validation.Schema(("2.55", _body({"description": _DESCRIPTION}, "description")))

_SPECS: dict[str, Any] = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {**types.TEXT, "type": ["string", "number"], "maxLength": 255}},
    "additionalProperties": False,
}
CREATE_EXTRA_SPECS = validation.Schema(("2.1", types.payload({"extra_specs": _SPECS}, required=("extra_specs",))))
UPDATE_EXTRA_SPEC = validation.Schema(("2.1", {**_SPECS, "minProperties": 1, "maxProperties": 1}))
