# SPDX-License-Identifier: Apache-2.0
"""Queries of flavors."""

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
