# SPDX-License-Identifier: Apache-2.0
"""Queries of images."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_LIST = {"limit": types.several(types.COUNT), "marker": types.several(types.TEXT), "name": types.several(types.TEXT)}

LIST = validation.Schema(("2.1", types.query(_LIST, is_strict=False)))
SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)))
