# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of a server's metadata."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_VALUE: dict[str, Any] = {**types.TEXT, "maxLength": 255}
#: Keys and values as servers are made with them, too.
ITEMS: dict[str, Any] = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": _VALUE},
    "additionalProperties": False,
}

SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)), ("2.75", types.query({}, is_strict=True)))
SEVERAL = validation.Schema(("2.1", types.payload({"metadata": ITEMS}, required=("metadata",))))
ONE = validation.Schema(("2.1", types.payload({"meta": {**ITEMS, "minProperties": 1, "maxProperties": 1}}, required=("meta",))))
