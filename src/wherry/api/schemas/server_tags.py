# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of a server's tags."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

MOST = 50
LONGEST = 60
#: As servers are made with them, too.
TAGS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": r"^[^,/\x00\ud800-\udfff]*$"},
    "maxItems": MOST,
}

SHOW = validation.Schema(("2.26", types.query({}, is_strict=False)), ("2.75", types.query({}, is_strict=True)))
REPLACE = validation.Schema(("2.26", types.payload({"tags": TAGS}, required=("tags",))))
