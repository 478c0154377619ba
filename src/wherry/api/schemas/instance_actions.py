# SPDX-License-Identifier: Apache-2.0
"""Queries of instance actions."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_V58 = {"limit": types.single(types.COUNT), "marker": types.single(types.TEXT), "changes-since": types.single(types.TIME)}

LIST = validation.Schema(
    ("2.1", types.query({}, is_strict=False)),
    ("2.58", types.query(_V58, is_strict=True)),
    ("2.66", types.query({**_V58, "changes-before": types.single(types.TIME)}, is_strict=True)),
)
SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)))
