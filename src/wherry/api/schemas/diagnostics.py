# SPDX-License-Identifier: Apache-2.0
"""Queries of diagnostics."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)))
