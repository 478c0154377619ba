# SPDX-License-Identifier: Apache-2.0
"""Queries of migrations."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_FILTERS = ("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
_V1 = {name: types.several(types.TEXT) for name in _FILTERS}
_V59 = {
    **_V1,
    "limit": types.several(types.COUNT),
    "marker": types.several(types.UUID),
    "changes-since": types.several(types.TIME),
}
_V66 = {**_V59, "changes-before": types.several(types.TIME)}
_V80 = {**_V66, "user_id": types.several(types.TEXT), "project_id": types.several(types.TEXT)}

LIST = validation.Schema(
    ("2.1", types.query(_V1, is_strict=False)),
    ("2.59", types.query(_V59, is_strict=True)),
    ("2.66", types.query(_V66, is_strict=True)),
    ("2.80", types.query(_V80, is_strict=True)),
)
