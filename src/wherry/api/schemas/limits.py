# SPDX-License-Identifier: Apache-2.0
"""Queries of limits."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_SHOW = {"tenant_id": types.several(types.TEXT), "reserved": types.several(types.TEXT)}

SHOW = validation.Schema(("2.1", types.query(_SHOW, is_strict=False)), ("2.75", types.query(_SHOW, is_strict=True)))
