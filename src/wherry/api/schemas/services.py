# SPDX-License-Identifier: Apache-2.0
"""Queries and bodies of services."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_FILTERS = {"host": types.several(types.TEXT), "binary": types.several(types.TEXT)}

LIST = validation.Schema(("2.1", types.query(_FILTERS, is_strict=False)), ("2.75", types.query(_FILTERS, is_strict=True)))

_SERVICE = {"host": types.HOST, "binary": {"type": "string", "minLength": 1, "maxLength": 255}}
_V1 = {**_SERVICE, "disabled_reason": types.REASON}

#: PUT /os-services/{enable|disable|disable-log-reason|force-down}.
UPDATE_BY_NAME = validation.Schema(
    ("2.1", types.payload(_V1, required=("host", "binary"))),
    ("2.11", types.payload({**_V1, "forced_down": types.BOOLEAN}, required=("host", "binary"))),
)
#: PUT /os-services/{uuid}.
UPDATE = validation.Schema(
    (
        "2.53",
        types.payload(
            {
                "status": {"type": "string", "enum": ["enabled", "disabled"]},
                "disabled_reason": types.REASON,
                "forced_down": types.BOOLEAN,
            }
        ),
    )
)
